"""Stages that do as ``told.txt`` in the raw data tells them. State that must outlive a run lies beside the project."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from sluiceway.data.places import home
from sluiceway.gates.verdict import Check, Verdict

STAGE, PIPELINE = sys.argv[1:]
ROOT = Path.cwd()
BESIDE = home(ROOT).parent
RAW = ROOT / "data" / "raw" / PIPELINE
REPORTS = ROOT / "reports" / PIPELINE
TOLD = (RAW / "told.txt").read_text(encoding="utf-8").split()


def verdict(gate: str, passed: bool, path: Path | None = None, figure: float = 0.5) -> None:
    check = Check(name="drift_of_measures", passed=passed, figure=figure, message=f"{gate} looks {figure:g} far")
    made = Verdict(gate=gate, pipeline=PIPELINE, subject="s", checks=(check,))
    made.write(path or REPORTS / "verdicts" / f"{gate}.json")


def count() -> int:
    """Say how often this was called."""
    path = BESIDE / f"{STAGE}.count"
    number = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(number))
    return number


def wait() -> None:
    """Train until told to stop, save, and ask for a place in the queue."""
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    (BESIDE / "training").touch()
    while not heard:
        time.sleep(0.05)
    time.sleep(0.5)  # a second signal would be heard here
    (BESIDE / "saved").write_text(str(len(heard)))
    if "full" in TOLD:
        sys.stderr.write("error: told to leave: step 5 could not be saved, the last checkpoint is that of step 0\n")
    sys.exit(75)


def look() -> None:
    """Write down which hosts the cluster has that ``RAY_ADDRESS`` names, and what it answers one without a token."""
    import ray
    import requests

    ray.init(log_to_driver=False)
    hosts = sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"])
    answer = requests.get("http://127.0.0.1:8265/api/jobs/", timeout=30)
    (BESIDE / "cluster.json").write_text(json.dumps({"hosts": hosts, "stranger": answer.status_code}))


number = count()
if STAGE == "validate":
    verdict("data", "bad" not in TOLD, ROOT / "data" / "validated" / PIPELINE / "verdict.json", 0.4)
elif STAGE == "gate":
    verdict("data", "bad" not in TOLD)
    sys.exit("error: the data gate is closed" if "bad" in TOLD else 0)
elif STAGE == "train":
    if "look" in TOLD:
        look()
    if "slow" in TOLD and not (BESIDE / "saved").exists():
        wait()
    if "crash" in TOLD or ("flaky" in TOLD and number == 1):
        sys.exit("error: the machine is on fire")
    if "itself" in TOLD and number == 1:
        sys.exit(75)
    verdict("cost", "dear" not in TOLD)
    sys.exit("error: the cost gate is closed" if "dear" in TOLD else 0)
else:
    verdict("model", "weak" not in TOLD)
    document = {"name": PIPELINE, "version": number, "run_id": f"run{os.getpid()}", "champion": "weak" not in TOLD}
    (REPORTS / "registration.json").write_text(json.dumps(document), encoding="utf-8")
