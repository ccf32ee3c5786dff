"""Trainings broken at random, in chains: who kills what at which moment, and which files are damaged, a seed decides.

    python benchmarks/havoc.py --seed 1                   # a chain of five of each kind of training
    python benchmarks/havoc.py --seed 7 --chains 3 --only two
    python benchmarks/havoc.py --seed 2 --damage 0        # signals alone
    python benchmarks/havoc.py --seed 3 --only tune       # a search for parameters

Where ``make chaos`` tries each known fault once, this looks for those that nobody thought of. Each chain breaks one
real training of the real stage five times, lets it come to its end, and holds it against one that nothing happened to.
It prints a line for each chain, and what is wrong with it; the seed brings the same faults again, though not to the
microsecond.
"""

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))
import searches
from lab import Lab, Training

LINKS = 5
"""Faults in a chain."""
RECIPE: dict[str, object] = {
    "epochs": 200.0,
    "accumulate": 2,
    "schedule": "one_cycle",
    "warmup": 0.2,
    "checkpoint_every": 40,
}
KINDS: dict[str, dict[str, object]] = {
    "one": {},
    "loaders": {"loader_processes": 2},
    "two": {"workers": 2},
    "fsdp": {"workers": 2, "strategy": "fsdp"},
}
SEARCH = "tune"
"""The kind that is a whole search of trainings, ``sluiceway tune``."""
_DEAF = 5.0
"""Seconds in which a stage may still be starting: then SIGTERM just ends it, and nothing is lost."""


class Wrong(Exception):
    """Something is not as it should be."""


# What is done to the processes of a training.


def _kill(training: Training, dice: random.Random) -> str:
    """Kill the stage alone, its whole group, or one of the processes below it."""
    assert training.process
    stage = psutil.Process(training.process.pid)
    below = stage.children(recursive=True)
    what = dice.choice(["stage", "group", "one below"] if below else ["stage", "group"])
    if what == "one below":
        victim = dice.choice(below)
        name = victim.name()
        victim.kill()
        return f"kill -9 {name}"
    if what == "group":
        os.killpg(stage.pid, signal.SIGKILL)
    else:
        stage.kill()
    return f"kill -9 {what}"


def _tell(training: Training, dice: random.Random) -> str:
    """Tell the stage or its group to leave, and kill it a moment later, if it is still there."""
    assert training.process
    group = dice.random() < 0.5
    (os.killpg if group else os.kill)(training.process.pid, signal.SIGTERM)
    wait = dice.uniform(0, 3)
    with suppress(Exception):
        training.end(wait)
    with suppress(ProcessLookupError):
        os.killpg(training.process.pid, signal.SIGKILL)
    return f"SIGTERM {'group' if group else 'stage'}, kill -9 after {wait:.1f} s"


def _ask(training: Training, dice: random.Random) -> str:
    """Tell the group to leave, and let it."""
    assert training.process
    right = _exits(training)
    os.killpg(training.process.pid, signal.SIGTERM)
    code = training.end()
    if code not in right:
        raise Wrong(f"SIGTERM to the group ended with {code}")
    return f"SIGTERM group: {code}"


def _ask_twice(training: Training, dice: random.Random) -> str:
    """Tell the stage twice: the second time interrupts."""
    assert training.process
    right = _exits(training)
    for _ in range(2):
        with suppress(ProcessLookupError):
            training.process.terminate()
        time.sleep(dice.uniform(0, 0.5))
    code = training.end()
    if code not in right:
        raise Wrong(f"two SIGTERM ended with {code}")
    return f"SIGTERM twice: {code}"


def _exits(training: Training) -> tuple[int, ...]:
    """Return the codes with which a training may end that is told to leave now."""
    assert training.process
    age = time.time() - psutil.Process(training.process.pid).create_time()
    return (0, 75, -signal.SIGTERM) if age < _DEAF else (0, 75)


def _pause(training: Training, dice: random.Random) -> str:
    """Stop the whole group for a while, and let it go on."""
    assert training.process
    os.killpg(training.process.pid, signal.SIGSTOP)
    time.sleep(dice.uniform(0.5, 4))
    os.killpg(training.process.pid, signal.SIGCONT)
    return "SIGSTOP, SIGCONT"


ACTS: tuple[Callable[[Training, random.Random], str], ...] = (_kill, _kill, _kill, _tell, _ask, _ask_twice, _pause)


# What is done to its files while nothing runs.


def _damage(training: Training, dice: random.Random, share: float) -> list[str]:
    """Break some files of the state folder; of checkpoints only the newest, as there are but two."""
    folder = training.folder
    if folder is None or dice.random() >= share:
        return []
    newest = max(folder.glob("checkpoints/step-*"), default=None)
    kept = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("broken", "best-"))]
    files = sorted(path for path in kept if newest in path.parents or "checkpoints" not in path.parts)
    done = []
    for path in dice.sample(files, min(len(files), dice.choice([1, 1, 3]))):
        how = dice.choice(searches.WAYS)
        if path.name == "metrics.jsonl" or not path.stat().st_size:
            continue  # points that are gone are told, and are in no table
        searches.break_file(path, how, dice)
        done.append(f"{how} {path.name}")
    return done


# A chain.


def chain(lab: Lab, name: str, kind: str, dice: random.Random, damage: float) -> str:
    """Break a training five times, let it come to its end, and return what was done.

    Raises:
        Wrong: it is not what it would have been.
    """
    options = RECIPE | KINDS[kind]
    whole, training = lab.undisturbed(options), lab.training(name, options)
    last = max(whole.losses())
    did: list[str] = []
    ended = False
    for _ in range(LINKS):
        reached = _step(training)
        training.start(alone=True)
        if dice.random() < 0.6:
            goal = dice.randint(1, last)
            _wait(training, lambda goal=goal: _step(training) >= goal)  # type: ignore[misc]
        else:
            pause = time.monotonic() + dice.uniform(0, 20 if "workers" not in options else 40)
            _wait(training, lambda until=pause: time.monotonic() > until)  # type: ignore[misc]
        if training.process and training.process.poll() is None:
            reached = max(reached, _step(training))
            did.append(f"{ACTS[turn := dice.randrange(len(ACTS))](training, dice)} at {reached}")
            if ACTS[turn] is _pause:
                _wait(training, lambda: False)
            training.end()
        _gone(training)
        hurt = _damage(training, dice, damage)
        did += hurt
        ended = not training.folder and (training.project.root / "models" / "digits" / "manifest.json").exists()
        if ended:
            break  # it came to its end; to begin again would be another training
    for _ in range(3):
        if ended or training.start(alone=True).end() == 0:
            break
    else:
        raise Wrong(f"{did}: it does not come to its end:\n{training.said()}")
    try:
        _judge(training, whole)
    except Wrong as error:
        raise Wrong(f"{did}: {error}\n{training.said()}") from None
    return "; ".join(did)


def _step(training: Training) -> int:
    with suppress(OSError):
        return training.step()
    return 0


def _wait(training: Training, true: Callable[[], bool], limit: float = 240.0) -> None:
    """Wait for something, or for the end."""
    last = time.monotonic() + limit
    while not true() and training.process and training.process.poll() is None:
        if time.monotonic() > last:
            raise Wrong(f"nothing happens:\n{training.said()}")
        time.sleep(0.01)


def _gone(training: Training, limit: float = 150.0) -> None:
    """Wait until no process works in the training's folder any more.

    Ray's agents look for a dead head for a minute before they end.
    """
    last = time.monotonic() + limit
    while left := [each for each in psutil.process_iter() if _works_in(each, training.project.root)]:
        if time.monotonic() > last:
            names = [each.name() for each in left]
            for each in left:
                each.kill()
            raise Wrong(f"{names} are left over")
        time.sleep(0.2)


def _works_in(process: psutil.Process, root: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == root
    return False


def _judge(training: Training, whole: Training) -> None:
    said, state = training.said(), training.project.root / ".sluiceway" / "digits"
    if "without the best weights" not in said and training.weights() != whole.weights():
        raise Wrong("other weights")
    if training.losses() != whole.losses():
        raise Wrong("another curve in the report")
    if set((logged := training.in_mlflow()).values()) != {1} or set(logged) != set(whole.in_mlflow()):
        raise Wrong(f"in MLflow {len(logged)} steps, at most {max(logged.values())} times each")
    if found := re.search(r"^(Traceback|Exception in thread|\w+Error:)", said, re.MULTILINE):
        raise Wrong(f"it said {found[0]}")
    left = [
        path for path in (*state.glob("training/*/"), *training.project.root.glob("reports/**/.*")) if path.exists()
    ]
    if left:
        raise Wrong(f"left over: {left}")


def main() -> int:
    """Run the chains; the exit code says whether all came out right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True, help="of the faults")
    parser.add_argument("--chains", type=int, default=1, help="of each kind of training")
    parser.add_argument("--only", nargs="+", choices=[*KINDS, SEARCH], default=[*KINDS, SEARCH], help="these kinds")
    parser.add_argument("--damage", type=float, default=0.5, help="share of faults after which files are damaged too")
    parser.add_argument("--keep", type=Path, help="leave the projects there")
    chosen = parser.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="sluiceway-havoc-"))
    lab, right = Lab(folder), True
    for number in range(chosen.chains):
        for kind in chosen.only:
            name = f"{kind}-{chosen.seed}-{number}"
            dice = random.Random(name)
            try:
                if kind == SEARCH:
                    did = searches.chain(lab, name, dice, chosen.damage, LINKS, _gone)
                else:
                    did = chain(lab, name, kind, dice, chosen.damage)
                print(f"{name}: right: {did}", flush=True)
            except (Wrong, AssertionError) as error:
                right = False
                print(f"{name}: WRONG: {error}", flush=True)
    if not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
