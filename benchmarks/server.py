"""Load and faults of the team's server: PostgreSQL, an S3 store and MLflow with accounts, on this machine.

    python benchmarks/server.py                       # prints; 10 minutes
    python benchmarks/server.py --write               # and writes benchmarks/results/server.md
    python benchmarks/server.py --pipelines 4 --seconds 10 --versions 50 --outage 10
    python benchmarks/server.py --only-versions --pictures FOLDER   # a model with many versions, and its page

Each pipeline is a process with a run and a spool of its own. Its step takes 50 ms, of which one is spent on
the CPU, as where a GPU does the work: two cores could not compute for twenty. What is written is written by the
training's own spool, and sent by its own shipper. Every point is counted on the server afterwards.
"""

import argparse
import json
import multiprocessing
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.synchronize import Barrier
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import numpy as np  # noqa: E402

import browser  # noqa: E402
from projects import DIGITS_PARAMS, DIGITS_SUITE, make_project, suite  # noqa: E402
from sluiceway.server import people  # noqa: E402
from sluiceway.stages.train import _metric_points  # noqa: E402
from sluiceway.tracking import store  # noqa: E402
from sluiceway.tracking.lineage import lineage  # noqa: E402
from sluiceway.tracking.runs import open_run  # noqa: E402
from sluiceway.tracking.shipper import Shipper  # noqa: E402
from sluiceway.training.spool import Spool, read  # noqa: E402
from sluiceway.usecases.pipeline import Pipeline  # noqa: E402
from team import ADMIN, ADMIN_PASSWORD, Team, clean, missing, team, wait_for  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "server.md"
STEP, WORK = 0.05, 0.001
"""Seconds of a step, and those of them that the CPU computes."""
EVERY = 2
"""Steps per line of the spool, of three metrics."""
SHARE = 5
"""One of so many pipelines only writes its spool, in turn: its steps are what those of the others are compared with."""
ACCOUNT = ("pipelines", "a password of pipelines")
TAGS = {
    **dict.fromkeys(("sluiceway.verdict.data", "sluiceway.verdict.cost"), "open"),
    "sluiceway.verdict.model": "closed",
    "sluiceway.verdict.model.reason": "accuracy 97.2 % is not above the 97.5 % of version 411 by 0.5 points",
    **{f"test.{name}": "0.9722222222222222" for name in ("accuracy", "macro_f1", "balanced_accuracy")},
    **{f"sluiceway.{name}": 32 * "0f" for name in ("examples", "test_split", "sha256")},
}
"""What ``register`` tells of a version, beside where it came from."""
DESCRIPTION = "Accuracy 97.2 % on 360 test examples. Model gate closed. Model: residual."


# A pipeline, in a process of its own.


def train(spool: Spool, until: float, first: int) -> list[float]:
    """Do steps until a moment; return the seconds that each took."""
    matrix, took, step = np.random.default_rng(0).normal(size=(64, 64)), [], first
    while time.time() < until:
        began = time.perf_counter()
        while time.perf_counter() < began + WORK:
            matrix = np.tanh(matrix @ matrix / 64)
        time.sleep(STEP - WORK)
        step += 1
        if step % EVERY == 0:
            spool.add(step, {"train/loss": 1 / step, "train/error": 2 / step, "learning_rate": 0.001})
        took.append(time.perf_counter() - began)
    return took


def crowd(root: Path, phases: list[list[str]], seconds: float) -> int:
    """Be all pipelines: each a process, forked from one that has imported everything."""
    import mlflow  # noqa: F401

    started, together = [], multiprocessing.get_context("fork").Barrier(len(phases))
    for number, each in enumerate(phases):
        if not (child := os.fork()):
            code = 1
            try:
                one(root, number, seconds, each, together)
                code = 0
            except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        started.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in started)


def one(root: Path, number: int, seconds: float, phases: list[str], together: Barrier) -> None:
    """Be one pipeline: make a run, wait for the others, train through the phases, tell how it went."""
    folder = root / "processes" / str(number)
    folder.mkdir(parents=True)
    pipeline = Pipeline.load("digits", root)
    with open_run(pipeline, f"load-{number}") as run:
        (folder / "ready").touch()
        wait_for((root / "go").exists, 600)
        took, cpu = [], []
        for index, phase in enumerate(phases):
            path = folder / f"{index}-{phase}.jsonl"
            spool = Spool(path, 0)
            shipper = Shipper(run, path, parse=_metric_points) if phase == "shipped" else nullcontext()
            together.wait(600)
            with shipper:
                before = time.process_time()
                seconds_of_steps = train(spool, time.time() + seconds, index * 1_000_000)
                cpu.append((time.process_time() - before) / len(seconds_of_steps))
                spool.close()
            took.append(seconds_of_steps)
    said = {"run": run.id, "steps": took, "cpu": cpu}
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")


# All of them.


@dataclass
class Load:
    """What became of pipelines that logged at once."""

    points: int
    lost: int
    doubled: int
    wrong: int
    added: float
    """Share of a step's time that sending added: median over pipelines."""
    spread: tuple[float, float]
    """Of that: the quartiles."""
    cpu: float
    """Seconds of CPU that sending added to a step."""
    longest: float
    """Seconds of the longest step while sending."""
    rate: float
    """Points per second."""


def load(server: Team, root: Path, phases: list[list[str]], seconds: float, fault: Callable[[], None]) -> Load:
    """Let pipelines log at once, do something to the server meanwhile, and count.

    Args:
        server: which they log to.
        root: of their project.
        phases: of each pipeline: ``shipped``, or ``alone`` while it only writes its spool.
        seconds: of a phase.
        fault: is called when all have begun.
    """
    (root / "processes").mkdir()
    command = [sys.executable, __file__, "--root", str(root), "--seconds", str(seconds), "--crowd", json.dumps(phases)]
    env = {**clean(dict(os.environ)), **store.QUIET, **server.client(*ACCOUNT), "OMP_NUM_THREADS": "1"}
    with (root / "log").open("w") as log:
        running = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            ready = [root / "processes" / str(number) / "ready" for number in range(len(phases))]
            wait_for(lambda: all(each.exists() for each in ready), 600, (root / "log").read_text)
            assert "Traceback" not in (root / "log").read_text(), (root / "log").read_text()
            (root / "go").touch()
            fault()
            assert running.wait(900) == 0, (root / "log").read_text()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    said = [json.loads((root / f"processes/{n}/said.json").read_text(encoding="utf-8")) for n in range(len(phases))]
    return count_points(root, said, seconds * len(phases[0]), phases)


def count_points(root: Path, said: list[dict], seconds: float, phases: list[list[str]]) -> Load:
    """Compare what the spools say with what the server has."""
    pipeline = Pipeline.load("digits", root)
    points = lost = doubled = wrong = 0
    for number, each in enumerate(said):
        wanted: dict[tuple[str, int], float] = {}
        for path in (root / "processes" / str(number)).glob("*-shipped.jsonl"):
            wanted |= {(name, point.step): value for point in read(path) for name, value in point.metrics.items()}
        found = Counter()
        for name in {name for name, _ in wanted}:
            for metric in store.client(pipeline.root).get_metric_history(each["run"], name):
                found[name, metric.step] += 1
                wrong += wanted.get((name, metric.step)) != metric.value
        points += len(wanted)
        lost += len(wanted.keys() - found.keys())
        doubled += sum(times > 1 for times in found.values())
    added, cpu = [0.0], [0.0]
    if all("alone" in each for each in phases):
        both = list(zip(said, phases, strict=True))
        added = [
            _median(one["steps"], each, "shipped") / _median(one["steps"], each, "alone") - 1 for one, each in both
        ]
        cpu = [_mean(one["cpu"], each, "shipped") - _mean(one["cpu"], each, "alone") for one, each in both]
    longest = max(max(steps) for one in said for steps in one["steps"])
    quartiles = statistics.quantiles(added, n=4) if len(added) > 1 else added * 3
    spread = quartiles[0], quartiles[2]
    rate = points / seconds
    return Load(points, lost, doubled, wrong, statistics.median(added), spread, statistics.median(cpu), longest, rate)


def _median(steps: list[list[float]], phases: list[str], wanted: str) -> float:
    return statistics.median(
        took for each, phase in zip(steps, phases, strict=True) if phase == wanted for took in each
    )


def _mean(cpu: list[float], phases: list[str], wanted: str) -> float:
    return statistics.mean(each for each, phase in zip(cpu, phases, strict=True) if phase == wanted)


# Faults.


def server_killed(server: Team, outage: float) -> None:
    """SIGKILL to all processes of MLflow; started again."""
    server.kill()
    time.sleep(outage)
    server.start()


def postgres_restarted(server: Team, outage: float) -> None:
    """PostgreSQL stopped as by a crash; started again."""
    server.postgres.stop()
    time.sleep(outage)
    server.postgres.start()


def store_refuses(server: Team, outage: float) -> None:
    """The S3 server stopped; started again."""
    server.store.stop()
    time.sleep(outage)
    server.store.start()


FAULTS = {"MLflow killed": server_killed, "PostgreSQL crashed": postgres_restarted, "S3 refuses": store_refuses}


def upload_meanwhile(server: Team, root: Path, outage: float) -> tuple[float, bool]:
    """Log a file to a run while the store refuses; return the seconds it took, and whether it arrived as it is."""
    with become(server, *ACCOUNT):
        pipeline = Pipeline.load("digits", root)
        file = root / "model.bin"
        file.write_bytes(os.urandom(5_000_000))
        with open_run(pipeline, "upload") as run:
            server.store.stop()
            back = threading.Timer(outage, server.store.start)
            back.start()
            began = time.monotonic()
            run.log_artifact(file)
            took = time.monotonic() - began
            back.join()
            with tempfile.TemporaryDirectory() as folder:
                there = store.client(root).download_artifacts(run.id, file.name, folder)
                return took, Path(there).read_bytes() == file.read_bytes()


def registry_page(server: Team, root: Path, count: int) -> dict[str, float]:
    """Fill a registered model with versions, and time what its page asks the server: seconds, median of five.

    The versions have the tags and the description that ``register`` gives them.
    """
    with become(server, *ACCOUNT):
        client = store.client(root)
        where = store.experiment(root, "digits")
        run_id = client.create_run(where).info.run_id
        model = client.create_logged_model(where, name="many", source_run_id=run_id).model_id
        client.finalize_logged_model(model, "READY")
        client.create_registered_model("many")
        tags = TAGS | lineage(Pipeline.load("digits", root))
        began = time.monotonic()
        for _ in range(count):
            client.create_model_version(
                "many",
                f"models:/{model}",
                run_id,
                tags=tags,
                model_id=model,
                await_creation_for=0,
                description=DESCRIPTION,
            )
        made = (time.monotonic() - began) / count
        client.set_registered_model_alias("many", "champion", str(count))

        def timed(ask: Callable[[], object]) -> float:
            return statistics.median(_seconds(ask) for _ in range(5))

        found = client.search_model_versions("name='many'", max_results=10_000)
        assert len(found) == count
        return {
            "registering one more (only the record)": made,
            "the model with its aliases": timed(lambda: client.get_registered_model("many")),
            "its newest 25 versions, a page of the table": timed(
                lambda: client.search_model_versions("name='many'", max_results=25)
            ),
            f"all {count} versions with {len(tags)} tags each": timed(
                lambda: client.search_model_versions("name='many'", max_results=10_000)
            ),
            "the champion": timed(lambda: client.get_model_version_by_alias("many", "champion")),
        }


def browser_page(server: Team, count: int, pictures: Path | None) -> dict[str, float]:
    """Open the model's page in a browser, as a person does: seconds until its table has rows, median of three."""
    if why := browser.missing():
        return {f"its page in a browser ({why})": float("nan")}
    places = {"versions": "models/many", "champion": f"models/many/versions/{count}", "models": "models"}
    addresses = {name: store.page(server.uri, place) for name, place in places.items()}
    took = []
    for _ in range(3):  # each time another browser, which remembers nothing
        with browser.browser() as window:
            window.log_in(*ACCOUNT)
            began = time.perf_counter()
            window.open(addresses["versions"])
            window.until(f"return document.body.innerText.includes('Version {count}')", 120)
            took.append(time.perf_counter() - began)
            if pictures and len(took) == 1:
                for name, address in addresses.items():
                    window.open(address)
                    window.until("return document.body.innerText.includes('many')", 120)
                    time.sleep(3)  # until what is drawn after that has been drawn
                    window.picture(pictures / f"{name}.png")
    return {"its page in a browser, until the table shows the newest versions": statistics.median(took)}


def _seconds(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


@contextmanager
def become(server: Team, name: str, password: str) -> Iterator[None]:
    """Speak to the server as this account."""
    before = dict(os.environ)
    os.environ.update(server.client(name, password))
    yield
    os.environ.clear()
    os.environ.update(before)


def project(folder: Path) -> Path:
    """Make a project for one round; nothing in it is ever trained."""
    folder.mkdir()
    return make_project(folder, {"digits": ("image", DIGITS_PARAMS, suite(*DIGITS_SUITE))}).root


def report(arguments: argparse.Namespace, scratch: Path) -> str:
    """Do all of it, and write the page."""
    count, seconds = arguments.pipelines, arguments.seconds
    lines = []
    with team(workers=arguments.workers) as server:
        with become(server, ADMIN, ADMIN_PASSWORD):
            people.add(*ACCOUNT, role="writer")
        with become(server, *ACCOUNT):
            # Of each five, one in turn only writes its spool, so that the wanted number sends at any moment.
            most = count * SHARE // (SHARE - 1)
            turns = [["alone" if turn == n % SHARE else "shipped" for turn in range(SHARE)] for n in range(most)]
            quiet = load(server, project(scratch / "quiet"), turns, seconds, lambda: None)
            lines += [f"| none | {_cells(quiet)} |"]
            print(lines[-1], vars(quiet), file=sys.stderr)
            for name, fault in FAULTS.items():
                outage = arguments.outage if fault is store_refuses else min(10.0, arguments.outage)

                def hurt(fault: Callable[[Team, float], None] = fault, outage: float = outage) -> None:
                    time.sleep(seconds / 2)
                    fault(server, outage)

                found = load(
                    server, project(scratch / name.split()[0]), [["shipped"]] * count, 2 * seconds + outage, hurt
                )
                lines += [f"| {name}, back after {outage:g} s | {_cells(found)} |"]
                print(lines[-1], file=sys.stderr)
        took, same = upload_meanwhile(server, project(scratch / "upload"), arguments.outage)
        print(took, same, file=sys.stderr)
        pages = asked(server, scratch / "quiet", arguments)
    return page(arguments, quiet, lines, took, same, pages)


def asked(server: Team, root: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Time a model with many versions, asked by a client and looked at by a person."""
    found = registry_page(server, root, arguments.versions)
    return found | browser_page(server, arguments.versions, arguments.pictures)


def alone(arguments: argparse.Namespace, scratch: Path) -> str:
    """Do only that, and put it in the place of what the page says of it."""
    with team(workers=arguments.workers) as server:
        with become(server, ADMIN, ADMIN_PASSWORD):
            people.add(*ACCOUNT, role="writer")
        pages = asked(server, project(scratch / "quiet"), arguments)
    before = RESULTS.read_text(encoding="utf-8").partition("A model with ")[0]
    return before + "\n".join(versions(arguments, pages))


def versions(arguments: argparse.Namespace, pages: dict[str, float]) -> list[str]:
    """Write what was found of the many versions."""
    options = f"--only-versions --versions {arguments.versions} --workers {arguments.workers} --write"
    return [
        f"A model with {arguments.versions} versions (`python benchmarks/server.py {options}` does this part alone; a "
        f"load of {os.getloadavg()[1]:.1f}):",
        "",
        "| asked | s |",
        "|---|---|",
        *(f"| {what} | {each:.3f} |" for what, each in pages.items()),
        "",
    ]


def _cells(found: Load) -> str:
    return (
        f"{found.points:,} | {found.rate:,.0f} | {found.lost} | {found.doubled} | {found.wrong} | {found.longest:.2f}"
    )


def page(
    arguments: argparse.Namespace, quiet: Load, lines: list[str], took: float, same: bool, pages: dict[str, float]
) -> str:
    """Write what was found as Markdown."""
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, MLflow {version('mlflow')}"
    )
    low, high = quiet.spread
    return "\n".join(
        [
            "# The team's server",
            "",
            f"`python benchmarks/server.py --pipelines {arguments.pipelines} --seconds {arguments.seconds:g} "
            f"--versions {arguments.versions} --outage {arguments.outage:g} --workers {arguments.workers} --write`",
            "",
            f"{machine}; a load of {os.getloadavg()[1]:.1f}. Clients, "
            f"MLflow ({arguments.workers} workers), PostgreSQL and the S3 server share them.",
            "",
            f"{arguments.pipelines} pipelines log at once, three metrics every {EVERY} steps of {1000 * STEP:g} ms:",
            "",
            "| fault | points | a second | lost | doubled | wrong | longest step, s |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            f"Sending adds {100 * quiet.added:.2f} % to the median step (quartiles of pipelines: {100 * low:.2f} to "
            f"{100 * high:.2f} %), compared with turns of the same pipeline in which it writes its spool and "
            f"does not send it, while the others do. It costs {1000 * quiet.cpu:.2f} ms of CPU a step.",
            "",
            f"A file of 5 MB, logged while S3 refuses for {arguments.outage:g} s, "
            + (f"arrives after {took:.0f} s, {'as it was' if same else 'DAMAGED'}."),
            "",
            *versions(arguments, pages),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pipelines", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="of a stretch")
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds that S3 refuses")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only-versions", action="store_true", help="only the model with many versions")
    parser.add_argument("--pictures", type=Path, help="folder for what the browser shows")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--crowd", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.crowd:
        sys.exit(crowd(arguments.root, json.loads(arguments.crowd), arguments.seconds))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if why := missing():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as scratch:
        text = (alone if arguments.only_versions else report)(arguments, Path(scratch))
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
