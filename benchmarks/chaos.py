"""The fault matrix: each row breaks a real training of the real stage, and looks at what became of it.

    make chaos                                   # all rows, written; about half an hour
    python benchmarks/chaos.py --short           # those that `make test` runs too
    python benchmarks/chaos.py --only "node lost" --keep

Prints a table. ``--write`` writes it to ``benchmarks/results/chaos.md``; rows that did not run stay there. A row is a
function from a lab to an outcome (``deaths.py``, ``shortages.py``), and a line in ``ROWS``. Some mount a small disk,
which takes root.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import deaths
import shortages
from lab import FAULT_AT, OPTIONS, ROOT, Lab
from outcomes import Outcome

RESULTS = ROOT / "benchmarks" / "results" / "chaos.md"
PACKAGES = ("ray", "torch", "pytorch-lightning", "mlflow")


ROWS: dict[str, Callable[[Lab], Outcome]] = {
    "worker killed": deaths.worker_killed,
    "worker hung": deaths.worker_hung,
    "node lost": deaths.node_lost,
    "node out of reach": deaths.node_out_of_reach,
    "node back": deaths.node_back,
    "node drained": deaths.node_drained,
    "driver killed": deaths.driver_killed,
    "driver of two workers killed": deaths.driver_of_two_killed,
    "DVC killed, its stage lives": deaths.dvc_killed,
    "machine rebooted": deaths.machine_rebooted,
    "told to leave": deaths.told_to_leave,
    "two of one name": deaths.two_of_one_name,
    "newest checkpoint broken": shortages.newest_checkpoint_broken,
    "disk full in a checkpoint": shortages.disk_full_in_a_checkpoint,
    "disk full in a stage": shortages.disk_full_in_a_stage,
    "out of memory": shortages.memory_does_not_suffice,
    "NaN loss": shortages.nan_loss,
    "tracking server away": shortages.tracking_server_away,
}
SHORT = ("worker killed", "worker hung", "driver killed", "NaN loss")


def table(outcomes: dict[str, Outcome]) -> list[str]:
    """Write outcomes as Markdown."""
    head = ("fault", "what happens", "steps done twice", "seconds", "points lost", "points doubled", "result", "right")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, outcome in outcomes.items():
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.1f}"
        counts = ["" if each is None else str(each) for each in (outcome.missing, outcome.doubled)]
        lost = "" if outcome.steps_lost is None else str(outcome.steps_lost)
        right = "yes" if outcome.right else "**no**"
        lines.append(f"| {' | '.join((name, outcome.happened, lost, seconds, *counts, outcome.result, right))} |")
    return lines


def machine() -> str:
    """Say what this ran on."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = f"{os.cpu_count()} cores under a load of {os.getloadavg()[2]:.0f}"
    return f"{cores}, {platform.system()}, Python {platform.python_version()}, {versions}."


def document(lines: list[str]) -> list[str]:
    """Write the page: the rows of a table, and of the page as it is those that are not among them."""
    before = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in (*before, *lines[2:]) if line.startswith("| ")}
    return [
        "# Faults put into trainings, and what became of them",
        "",
        f"`make chaos` wrote this. {machine()}",
        f"Faults come at step {FAULT_AT} or soon after; a checkpoint is made every {OPTIONS['checkpoint_every']}.",
        "",
        *lines[:2],
        *(rows[name] for name in ROWS if name in rows),
        "",
    ]


def main() -> int:
    """Run the rows that are asked for; the exit code says whether all came out right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, help="these rows")
    parser.add_argument("--short", action="store_true", help="the rows that are tests")
    parser.add_argument("--away", type=float, default=600.0, help="seconds for which the tracking server is away")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--keep", action="store_true", help="leave the projects and say where")
    chosen = parser.parse_args()
    names = chosen.only or (SHORT if chosen.short else ROWS)
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-chaos-"))
    outcomes: dict[str, Outcome] = {}
    lab = Lab(folder, chosen.away)
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            outcomes[name] = ROWS[name](lab)
        except Exception as error:  # noqa: BLE001 - the other rows are still to come
            outcomes[name] = Outcome(f"{type(error).__name__}: {str(error).splitlines()[0]}", right=False)
            print(error, file=sys.stderr, flush=True)
        print(table({name: outcomes[name]})[-1], flush=True)
    print("\n".join(table(outcomes)))
    if chosen.write:
        RESULTS.write_text("\n".join(document(table(outcomes))), encoding="utf-8")
    if chosen.keep:
        print(f"projects are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not all(outcome.right for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
