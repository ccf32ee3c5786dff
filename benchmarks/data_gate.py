"""Proof of the data gate: faults are put into real data, the real stage judges it, and the answers are counted.

    python benchmarks/data_gate.py               # everything, about an hour on two cores
    python benchmarks/data_gate.py --only digits --faults "labels flipped" --clean 0

Prints, per fault and rate, whether the gate noticed it for the right reason and which examples it named, and the false
alarms on clean resamples of the same data. With --keep, what the gate saw is left for ``alternatives.py``.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parent))
from faults import FAULTS, Fault, resample
from sluiceway.data.measuring.engines import cores
from sluiceway.gates.verdict import Verdict
from sluiceway.stages.reference import keep_as_reference
from sluiceway.stages.validate import validate
from sluiceway.usecases.pipeline import Pipeline

ROOT = Path(__file__).parents[1]
SHARE = 0.9
"""Of a clean resample: fewer would break the contract, which says how many examples there are, and rightly so."""
NAMED = 0.5
"""Share of the touched examples that a check which warns of clean data too must name."""
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Outcome:
    """What became of one faulty data set."""

    pipeline: str
    fault: str
    kind: str
    rate: float
    state: str
    """Of the gate."""
    noticed: bool
    """Some check failed, or some example was set aside, for a reason that names this fault."""
    closed: bool
    """The gate closed, for such a reason."""
    by: str
    precision: float | None
    recall: float | None
    seconds: float


class Bench:
    """A project in a scratch folder, whose raw data is made anew for each trial."""

    def __init__(self, name: str, clean: Path, scratch: Path) -> None:
        self.name, self.clean, self.root = name, clean, scratch / name
        folder = self.root / "pipelines" / name
        folder.mkdir(parents=True)
        for each in ("params.yaml", "expectations.json"):
            shutil.copy(ROOT / "pipelines" / name / each, folder / each)
        self.params = (folder / "params.yaml").read_text(encoding="utf-8")
        self.usual: frozenset[str] = frozenset()
        """Checks that warn of clean data: what they say of faulty data tells nothing, unless they name the fault."""
        entries = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["pipelines"]
        code = json.dumps({name: {"code": str(ROOT / entries[name]["code"])}})
        (self.root / "params.yaml").write_text(f"pipelines: {code}\nsamples: []\n", encoding="utf-8")

    @property
    def raw(self) -> Path:
        """Where the faults go."""
        return self.root / "data" / "raw" / self.name

    def reset(self, options: dict[str, object]) -> None:
        """Bring the clean data and parameters back."""
        shutil.rmtree(self.raw, ignore_errors=True)
        shutil.copytree(self.clean, self.raw)
        document = YAML().load(self.params)
        for option, value in options.items():
            *sections, last = option.split(".")
            place = document
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
        with (self.root / "pipelines" / self.name / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(document, file)

    def judge(self) -> tuple[Verdict, Pipeline, float]:
        """Run the stage."""
        began = time.monotonic()
        pipeline = Pipeline.load(self.name, self.root)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            validate(pipeline)
        return Verdict.read(pipeline.validated / "verdict.json"), pipeline, time.monotonic() - began

    def look_at_clean_data(self) -> None:
        """Find out what the gate says where there is no fault."""
        self.reset({})
        self.forget(Pipeline.load(self.name, self.root))
        self.usual = frozenset(check.name for check in self.judge()[0].checks if not check.passed)

    def remember(self, pipeline: Pipeline) -> None:
        """Do what ``register`` does with the data of a registered version."""
        self.forget(pipeline)
        keep_as_reference(pipeline, self.name, "1")

    def forget(self, pipeline: Pipeline) -> None:
        """Have no registered version."""
        shutil.rmtree(pipeline.reference, ignore_errors=True)


def trial(bench: Bench, fault: Fault, rate: float, seed: int, keep: Path | None) -> Outcome:
    """Put one fault in, judge, and count."""
    rng = np.random.default_rng([seed, round(rate * 1000)])
    bench.reset({})
    pipeline = Pipeline.load(bench.name, bench.root)
    bench.forget(pipeline)
    if fault.kind == "past":
        bench.remember(bench.judge()[1])
    bench.reset(fault.options)
    touched = fault.inject(bench.raw, rate, rng)
    verdict, pipeline, seconds = bench.judge()
    failed = {check.name for check in verdict.checks if not check.passed}
    found = named_by(pipeline, set(fault.reasons))
    by = sorted((failed | set(found)) & set(fault.reasons))
    hits = set().union(*found.values()) if found else set()
    precision, recall = (None, None)
    if fault.named and touched:
        named, blamed = originals(hits), originals(touched)
        recall = len(named & blamed) / len(blamed)
        precision = len(named & blamed) / len(named) if named else None
    quarantine = {reason for reason in found if reason not in failed}
    aside = sum(len(found[reason] & touched) for reason in quarantine) >= 0.8 * len(touched) if touched else False
    closed = any(check.closes and check.name in fault.reasons for check in verdict.checks)
    telling = failed - bench.usual
    if recall is not None and recall >= NAMED:
        telling |= set(found)
    if keep:
        leave(bench, pipeline, keep / slug(f"{bench.name}-{fault.name}-{rate:g}"), fault.name, rate, touched)
    return Outcome(
        pipeline=bench.name,
        fault=fault.name,
        kind=fault.kind,
        rate=rate,
        state=verdict.state,
        noticed=closed or bool(telling & set(fault.reasons)) or aside,
        closed=closed,
        by=", ".join(by),
        precision=precision,
        recall=recall,
        seconds=seconds,
    )


def originals(names: Set[str]) -> set[str]:
    """Name copies by what they copy: of a pair the gate cannot know which was first, and may name either."""
    return {re.sub(r"-copy\.\w+$|\.(?:png|ogg|wav|mp3)$", "", name) for name in names}


def slug(name: str) -> str:
    """Make a folder's name."""
    return name.replace(" ", "_").replace("/", "-").replace(":", "")


def leave(
    bench: Bench, pipeline: Pipeline, folder: Path, fault: str, rate: float = 0.0, touched: Set[str] = frozenset()
) -> None:
    """Keep what the gate saw, the raw data among it, and the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("examples.parquet", "quarantine.parquet", "sketches.parquet", "answers.parquet"):
        shutil.copyfile(pipeline.validated / name, folder / name)
    shutil.make_archive(str(folder / "raw"), "zip", bench.raw)
    truth = {"fault": fault, "pipeline": bench.name, "rate": rate, "touched": sorted(touched)}
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")


def keep_clean(bench: Bench, keep: Path) -> None:
    """Leave the data without a fault: what the alternatives learn from."""
    bench.reset({})
    bench.forget(Pipeline.load(bench.name, bench.root))
    leave(bench, bench.judge()[1], keep / f"{bench.name}-clean", "clean")


def named_by(pipeline: Pipeline, reasons: set[str]) -> dict[str, set[str]]:
    """Ids that checks or the quarantine named, by the reason."""
    found: dict[str, set[str]] = {}
    offenders = pq.read_table(pipeline.validated / "offenders.parquet", columns=["check", "id"]).to_pylist()
    quarantine = pq.read_table(pipeline.validated / "quarantine.parquet", columns=["reason", "id"]).to_pylist()
    entries = [(each["check"], each["id"]) for each in offenders]
    entries += [(each["reason"].partition(":")[0], each["id"]) for each in quarantine]
    for reason, name in entries:
        if reason in reasons:
            found.setdefault(reason, set()).add(name)
    return found


def clean_trials(bench: Bench, count: int, keep: Path | None) -> Iterator[dict[str, object]]:
    """Judge clean resamples: every other one against a registered version that is another resample."""
    for number in range(count):
        rng = np.random.default_rng([99, number])
        bench.reset({})
        pipeline = Pipeline.load(bench.name, bench.root)
        bench.forget(pipeline)
        if number % 2:
            resample(bench.raw, SHARE, rng)
            bench.remember(bench.judge()[1])
            bench.reset({})
        resample(bench.raw, SHARE, rng)
        verdict, pipeline, seconds = bench.judge()
        if keep:
            leave(bench, pipeline, keep / f"{bench.name}-resample-{number}", "clean")
        yield {
            "pipeline": bench.name,
            "state": verdict.state,
            "closed_by": [check.name for check in verdict.closed_by],
            "warnings": [check.name for check in verdict.warnings],
            "seconds": seconds,
        }


def report(outcomes: list[Outcome], clean: list[dict[str, object]]) -> str:
    """The table for the docs."""
    lines = [
        "# The data gate, proved",
        "",
        f"Made by `python benchmarks/data_gate.py` on {cores()} cores, {platform.machine()}.",
        "",
        "Faults are put into the real data of the built-in pipelines and judged by the real",
        "stage `validate`. *Noticed*: a check failed, or 80 % of the examples were set aside, for a",
        "reason that names the fault; a check that warns of the clean data too counts only if it names half of them.",
        "*Closed*: the gate closed for it. Precision and recall: examples named, of those touched.",
        "",
        "| pipeline | fault | rate | noticed | closed | by | precision | recall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        figures = ["" if value is None else f"{value:.2f}" for value in (each.precision, each.recall)]
        rate = "" if each.rate == 1 else f"{100 * each.rate:g} %"
        lines.append(
            f"| {each.pipeline} | {each.fault} | {rate} | {'yes' if each.noticed else '**no**'} | "
            f"{'yes' if each.closed else 'no'} | {each.by} | {' | '.join(figures)} |"
        )
    if outcomes:
        noticed = sum(each.noticed for each in outcomes)
        lines += ["", f"Noticed for the right reason: {noticed} of {len(outcomes)} ({noticed / len(outcomes):.0%})."]
    if clean:
        refused = [each for each in clean if each["state"] != "open"]
        warned = [each for each in clean if each["warnings"]]
        lines += [
            "",
            f"Clean resamples: {len(refused)} of {len(clean)} refused, {len(warned)} with a warning"
            + (f" ({', '.join(sorted({name for each in warned for name in each['warnings']}))})" if warned else "")  # type: ignore[attr-defined]
            + ".",
        ]
        lines += [f"- refused: {each['pipeline']} by {each['closed_by']}" for each in refused]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(FAULTS), help="one pipeline")
    parser.add_argument("--faults", nargs="+", default=[""], help="faults whose name has one of these in it")
    parser.add_argument("--clean", type=int, default=60, help="clean resamples, over all pipelines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--raw", type=Path, default=ROOT / "data" / "raw", help="raw folders by pipeline")
    parser.add_argument("--keep", type=Path, help="leave what the gate saw here")
    parser.add_argument("--printed", type=Path, nargs="+", help="run nothing: take the answers that runs have printed")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}/data_gate.md")
    chosen = parser.parse_args()
    outcomes, clean = printed(chosen.printed) if chosen.printed else run(chosen)
    text = report(outcomes, clean)
    print(text)
    if chosen.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "data_gate.md").write_text(text, encoding="utf-8")


def printed(files: Sequence[Path]) -> tuple[list[Outcome], list[dict[str, object]]]:
    """Read the answers back that earlier runs have printed, such as one of each pipeline."""
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    return [Outcome(**each) for each in answers if "fault" in each], [each for each in answers if "fault" not in each]


def run(chosen: argparse.Namespace) -> tuple[list[Outcome], list[dict[str, object]]]:
    """Make the trials."""
    keep = chosen.keep.resolve() if chosen.keep else None  # the working folder changes
    names = [chosen.only] if chosen.only else sorted(FAULTS)
    outcomes: list[Outcome] = []
    clean: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="sluiceway-bench-") as scratch:
        for name in names:
            bench = Bench(name, (chosen.raw / name).resolve(), Path(scratch))
            os.chdir(bench.root)
            if keep:
                keep_clean(bench, keep)
            bench.look_at_clean_data()
            for fault in FAULTS[name]:
                if any(part in fault.name for part in chosen.faults):
                    for rate in fault.rates:
                        outcomes.append(trial(bench, fault, rate, chosen.seed, keep))
                        print(json.dumps(asdict(outcomes[-1])), flush=True)
            for each in clean_trials(bench, chosen.clean // len(names), keep):
                clean.append(each)
                print(json.dumps(each), flush=True)
    return outcomes, clean


if __name__ == "__main__":
    main()
