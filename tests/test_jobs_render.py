"""What schedulers get: golden files, and the schedulers' own schemas and checkers."""

import copy
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from projects import ROOT
from sluiceway.errors import ConfigError
from sluiceway.launch.jobs import Job
from sluiceway.launch.rayjob import LONGEST
from sluiceway.launch.render import RENDERERS
from sluiceway.launch.render.place import Place
from sluiceway.stages.job_render import render as write
from teams import FULL, PLAIN

GOLDEN = Path(__file__).parent / "golden" / "jobs"
CRDS = ROOT.parent / "shared" / "kuberay-crds"
PLACE = Place("/srv/project", "/opt/sluiceway/bin/sluiceway")
RAY = importlib.metadata.version("ray")


def with_changes(job: Job, **changes: Any) -> Job:
    return Job.model_validate({**job.model_dump(), **changes})


UNZONED = with_changes(FULL, schedule={"cron": "0 3 1 * MON"})
CASES = {
    "cron-plain": ("cron", PLAIN),
    "cron-full": ("cron", FULL),
    "systemd-plain": ("systemd", PLAIN),
    "systemd-full": ("systemd", FULL),
    "slurm-plain": ("slurm", PLAIN),
    "slurm-full": ("slurm", UNZONED),
    "kubernetes-full": ("kubernetes", FULL),
    "kubernetes-one": ("kubernetes", with_changes(FULL, resources={"gpus": 1}, schedule=None)),
    "kubernetes-raycronjob": (
        "kubernetes",
        with_changes(FULL, kubernetes={**FULL.kubernetes.model_dump(), "schedule_with": "RayCronJob"}),
    ),
}


def rendered(case: str) -> dict[str, str]:
    target, job = CASES[case]
    return RENDERERS[target]("nightly", job, PLACE)


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_the_golden_file(case: str, request: pytest.FixtureRequest) -> None:
    text = "".join(f"=== {name}\n{text}" for name, text in rendered(case).items()).replace(RAY, "@RAY@")
    assert text == (GOLDEN / f"{case}.txt").read_text(encoding="utf-8")


def documents(case: str) -> list[Any]:
    yaml = YAML(typ="safe", pure=True)
    return [each for text in rendered(case).values() for each in yaml.load_all(text)]


def kubernetes_documents() -> Iterator[tuple[str, Any]]:
    for case, (target, _) in CASES.items():
        if target == "kubernetes":
            for document in documents(case):
                yield case, document
                for embedded in document.get("data", {}).values():
                    yield case, json.loads(embedded)


# Kubernetes.


def test_core_kinds_are_what_kubernetes_takes() -> None:
    import kubernetes_validate

    core = [each for _, each in kubernetes_documents() if "ray.io" not in each["apiVersion"]]
    assert {each["kind"] for each in core} == {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "CronJob"}
    for document in core:
        kubernetes_validate.validate(document, "1.31", strict=True)
        wrong = copy.deepcopy(document)
        wrong["metadata"]["labls"] = {}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, "1.31", strict=True)


def closed(schema: Any) -> Any:
    """Return a CRD's schema as strict JSON schema: unknown keys are faults."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if made.pop("x-kubernetes-int-or-string", False):
        made = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    if made.pop("nullable", False) and "type" in made:
        made["type"] = [made["type"], "null"]
    return made


@pytest.fixture(scope="module")
def crds() -> dict[str, Any]:
    if not CRDS.is_dir():
        pytest.skip(f"{CRDS} is not here: KubeRay's schemas are kept beside the repository")
    schemas = {}
    for path in CRDS.glob("*.yaml"):
        crd = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        (version,) = [each for each in crd["spec"]["versions"] if each["name"] == "v1"]
        schema = closed(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        schemas[crd["spec"]["names"]["kind"]] = schema
    return schemas


def test_rays_kinds_are_what_kuberay_takes(crds: dict[str, Any]) -> None:
    rays = [each for _, each in kubernetes_documents() if "ray.io" in each["apiVersion"]]
    assert {each["kind"] for each in rays} == {"RayJob", "RayCronJob"}
    for document in rays:
        jsonschema.validate(document, crds[document["kind"]])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("entrypont",), "x"),
        (("backoffLimit",), "many"),
        (("rayClusterSpec", "authOptions", "mode"), "open"),
        (("rayClusterSpec", "headGroupSpec", "template", "spec", "terminationGracePeriod"), 1),
    ],
)
def test_a_fault_in_a_rayjob_is_caught(crds: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    document = copy.deepcopy(documents("kubernetes-one")[0])
    inner = document["spec"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, crds["RayJob"])


def pods(document: Any) -> Iterator[Any]:
    """Yield every pod's spec in a manifest."""
    if isinstance(document, dict):
        if "containers" in document:
            yield document
        for value in document.values():
            yield from pods(value)
    elif isinstance(document, list):
        for value in document:
            yield from pods(value)


def test_no_pod_is_root_or_holds_a_secret() -> None:
    found = [pod for _, document in kubernetes_documents() for pod in pods(document)]
    assert len(found) > 8
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
            in_clear = {variable["name"] for variable in container.get("env", []) if "value" in variable}
            assert in_clear <= {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", *FULL.env}


def test_pods_that_train_go_where_gpus_are_with_what_they_need() -> None:
    for case in ("kubernetes-full", "kubernetes-one"):
        cluster = documents(case)[0]["spec"]["rayClusterSpec"]
        groups = cluster.get("workerGroupSpecs") or [cluster["headGroupSpec"]]
        pod = groups[0]["template"]["spec"]
        assert pod["nodeSelector"] == {"gpu": "a100"}
        assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
        assert pod["serviceAccountName"] == "trainer"
        assert {"name": "NCCL_DEBUG", "value": "WARN"} in pod["containers"][0]["env"]
    found = [pod for _, document in kubernetes_documents() for pod in pods(document)]
    assert all(pod["imagePullSecrets"] == [{"name": "registry"}] for pod in found)
    head = documents("kubernetes-full")[0]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    assert "tolerations" not in head["spec"]  # beside workers it needs no GPU
    assert head["metadata"]["annotations"] == FULL.kubernetes.annotations


@pytest.mark.parametrize("target", ["kubernetes", "slurm"])
def test_places_that_would_idle_are_refused(target: str, tmp_path: Path) -> None:
    """One worker trains where the job itself runs: beside four pods with a GPU each, on one that has none."""
    with pytest.raises(ConfigError, match="workers: 4 is more than the 1 that pipelines/digits") as caught:
        written(tmp_path, target, resources={"workers": 4, "gpus": 1}, image="a:1")
    assert "workers: 1 there, or train: {workers: 4}" in caught.value.hint


def test_what_an_operator_would_patch_by_hand_is_an_option() -> None:
    for case, document in kubernetes_documents():
        labels = document["metadata"]["labels"]
        assert labels.items() >= FULL.kubernetes.labels.items(), (case, document["kind"])
        assert labels["app.kubernetes.io/name"] == "sluiceway"
    cluster = documents("kubernetes-full")[0]["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["template"]["metadata"]["labels"]["team"] == "vision"
        assert group["template"]["spec"]["runtimeClassName"] == "nvidia"
    with pytest.raises(ValueError, match="containers, volumes is made from other options"):
        with_changes(FULL, kubernetes={"pod": {"volumes": [], "containers": []}})


def test_a_cluster_that_never_starts_does_not_hold_up_later_runs() -> None:
    """With an image that there is not, the CronJob's policy would else forbid every run from then on."""
    assert documents("kubernetes-full")[0]["spec"]["preRunningDeadlineSeconds"] == 3600
    for minutes, written in ((5, 300), (None, None)):
        job = with_changes(FULL, schedule=None, kubernetes={"start_minutes": minutes})
        (text,) = RENDERERS["kubernetes"]("nightly", job, PLACE).values()
        found = YAML(typ="safe", pure=True).load(text)["spec"].get("preRunningDeadlineSeconds")
        assert found == written


def test_pods_that_only_wait_take_next_to_nothing_and_may_be_moved() -> None:
    cron = documents("kubernetes-full")[-1]["spec"]["jobTemplate"]["spec"]
    assert cron["podFailurePolicy"]["rules"][0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    (create,) = cron["template"]["spec"]["containers"]
    assert {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in create["env"]} == {
        "JOB_NAME": "metadata.labels['job-name']",
        "JOB_UID": "metadata.labels['controller-uid']",
    }
    (submit,) = documents("kubernetes-full")[0]["spec"]["submitterPodTemplate"]["spec"]["containers"]
    for container in (create, submit):
        assert container["resources"]["requests"]["cpu"] == "100m"


@pytest.mark.parametrize("length", [1, 31, 32, 40])
def test_the_longest_name_of_a_job_is_one_that_kuberay_takes(length: int) -> None:
    name = "a" * (length - 1) + "z"
    (text, _) = RENDERERS["kubernetes"](name, FULL, PLACE).values()
    metadata = YAML(typ="safe", pure=True).load(text)["metadata"]
    assert len(metadata["generateName"]) + 5 <= LONGEST
    assert metadata["labels"]["sluiceway/job"] == name
    alpha = CASES["kubernetes-raycronjob"][1]
    if length <= 31:
        RENDERERS["kubernetes"](name, alpha, PLACE)
        return
    with pytest.raises(ConfigError, match=rf"{length - 31} letters too long for a RayCronJob") as caught:
        RENDERERS["kubernetes"](name, alpha, PLACE)
    assert f"call it {'a' * 31!r}" in caught.value.hint


def test_the_grace_of_pods_outlasts_the_jobs_own() -> None:
    spec = documents("kubernetes-full")[0]["spec"]["rayClusterSpec"]
    head = spec["headGroupSpec"]["template"]["spec"]
    assert head["terminationGracePeriodSeconds"] > FULL.grace
    assert head["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-3:] == ["cancel", "--requeue", "nightly"]
    (workers,) = spec["workerGroupSpecs"]
    assert workers["replicas"] == 4
    worker = workers["template"]["spec"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert worker["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-3:] == ["job", "leave", "nightly"]
    assert worker["terminationGracePeriodSeconds"] > FULL.grace


def test_kubernetes_needs_an_image() -> None:
    with pytest.raises(ConfigError, match="names no image"):
        RENDERERS["kubernetes"]("nightly", PLAIN, PLACE)


# cron, systemd and Slurm.


@pytest.mark.parametrize("target", ["cron", "systemd"])
def test_a_schedule_is_needed(target: str) -> None:
    with pytest.raises(ConfigError, match="has no schedule"):
        RENDERERS[target]("nightly", with_changes(PLAIN, schedule=None), PLACE)


def test_a_percent_sign_does_not_end_the_command_in_a_crontab() -> None:
    text = RENDERERS["cron"]("nightly", PLAIN, Place("/srv/100%", "sluiceway"))["crontab"]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == 2
    assert not any(re.search(r"(?<!\\)%", line) for line in lines)


def test_systemd_kills_only_after_the_job_had_time_to_tell() -> None:
    (stop,) = re.findall(
        r"^TimeoutStopSec=(\d+)$", rendered("systemd-plain")["sluiceway-nightly.service"], re.MULTILINE
    )
    assert int(stop) == PLAIN.grace + 30


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("case", ["systemd-plain", "systemd-full"])
def test_systemd_takes_the_units(case: str, tmp_path: Path) -> None:
    program = tmp_path / "sluiceway"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    target, job = CASES[case]
    files = RENDERERS[target]("nightly", job, Place(str(tmp_path), str(program)))
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = verified(tmp_path, files)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    (tmp_path / "sluiceway-nightly.timer").write_text("[Timer]\nOnCalender=daily\n", encoding="utf-8")
    assert "OnCalender" in verified(tmp_path, files).stderr


def verified(folder: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "verify", "--man=no", *(str(folder / name) for name in files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def written(folder: Path, target: str = "slurm", **options: Any) -> Path:
    """Write two jobs for a scheduler as they are typed, and return the folder with what was rendered."""
    root = folder / "pro ject"
    (root / "infra").mkdir(parents=True)
    (root / "params.yaml").write_text("pipelines: {digits: {code: src}}\n", encoding="utf-8")
    job = {"pipeline": "digits", "where": "slurm", "schedule": {"cron": "30 2 * * *"}, **options}
    (root / "infra" / "jobs.yaml").write_text(json.dumps({"jobs": {"nightly": job, "weekly": job}}), encoding="utf-8")
    for name in ("nightly", "weekly"):
        write(root, name, target, root / "batch")
    return root / "batch"


def option(text: str, name: str) -> str:
    (value,) = re.findall(rf"^#SBATCH --{name}=(.+)$", text, re.MULTILINE)
    return str(value)


def test_slurm_finds_the_folder_of_the_log_and_scrontab_the_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path)
    for name in ("nightly", "weekly"):
        table, script = (folder / f"{name}.scrontab").read_text(encoding="utf-8"), folder / f"{name}.sbatch"
        assert Path(option(script.read_text(encoding="utf-8"), "output").strip('"')).parent.is_dir()
        (line,) = [each for each in table.splitlines() if not each.startswith("#")]
        program = shlex.split(line)[shlex.split(line).index("sbatch") + 1].removesuffix(";")
        assert os.access(program, os.X_OK)
        assert Path(program) == script
        assert table.startswith(f"# >>> sluiceway job {name} of {folder.parent}\n")  # beside those of other jobs
    said = capsys.readouterr().out
    assert f"sbatch '{folder}/nightly.sbatch'  one run, now" in said
    assert "sluiceway job install weekly --to slurm  the schedule: shows what changes, and writes it" in said


def test_nodes_that_see_the_project_elsewhere_find_the_script_there(tmp_path: Path) -> None:
    table = (written(tmp_path, slurm={"project": "/nodes/it"}) / "nightly.scrontab").read_text(encoding="utf-8")
    assert " || sbatch /nodes/it/batch/nightly.sbatch; }" in table


def test_scrontab_knows_no_time_zone() -> None:
    with pytest.raises(ConfigError, match="controller's zone"):
        RENDERERS["slurm"]("nightly", FULL, PLACE)


@pytest.mark.parametrize("case", ["slurm-plain", "slurm-full"])
def test_the_batch_script_is_one_that_bash_reads(case: str) -> None:
    script = rendered(case)["nightly.sbatch"]
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (3, False), (75, True)])
def test_only_a_preempted_job_is_queued_again(code: int, requeued: bool, tmp_path: Path) -> None:
    """The script runs for real, with a job that ends as it is told and a ``scontrol`` that writes what it is asked."""
    done, asked = run_script(tmp_path, f"exit {code}")
    assert done.returncode == code
    assert asked == (["requeue 4711"] if requeued else [])


def test_the_notice_reaches_the_job_and_its_answer_the_queue(tmp_path: Path) -> None:
    job = f"trap 'kill $!; exit 75' TERM; sleep 60 & touch {tmp_path}/ready; kill -TERM $PPID; wait"
    done, asked = run_script(tmp_path, job)
    assert done.returncode == 75
    assert asked == ["requeue 4711"]


@pytest.mark.parametrize(("code", "srun"), [(0, 0), (3, 143), (75, 137)])
def test_on_several_nodes_the_code_is_that_of_the_job(code: int, srun: int, tmp_path: Path) -> None:
    """``srun`` ends with what the other nodes were ended by."""
    first = f'while [ "$1" != -- ]; do shift; done; "${{@:2}}"; exit {srun}'
    done, asked = run_script(tmp_path, f"exit {code}", UNZONED, first)
    assert done.returncode == code, done.stderr
    assert ("requeue 4711" in asked) == (code == 75)


def test_a_job_whose_ray_does_not_start_has_failed(tmp_path: Path) -> None:
    """Ray's symmetric run ends with 0 then."""
    before = tmp_path / ".sluiceway" / "jobs" / "nightly" / "slurm-4711.code"
    before.parent.mkdir(parents=True)
    before.write_text("0\n", encoding="utf-8")
    done, _ = run_script(tmp_path, "exit 0", UNZONED, "exit 0")
    assert done.returncode == 1


def run_script(
    folder: Path, job: str, described: Job = PLAIN, srun: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the batch script with these in the places of the job and of srun."""
    log = folder / "scontrol.log"
    (folder / ".sluiceway" / "jobs" / "nightly").mkdir(parents=True, exist_ok=True)
    scontrol = f'echo "$*" >> {log}'
    job = f'[ "$2" = run ] || exit 1\n{job}'
    for name, text in {"sluiceway": job, "scontrol": scontrol, "srun": srun, "module": ""}.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    script = RENDERERS["slurm"]("nightly", described, Place(str(folder), str(folder / "sluiceway")))["nightly.sbatch"]
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{folder}:/usr/bin:/bin", "SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "n[1-2]"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done, log.read_text(encoding="utf-8").splitlines() if log.exists() else []


# The schedule.


@pytest.mark.parametrize(
    ("line", "zone", "expected"),
    [
        ("30 2 * * *", None, ["*-*-* 02:30:00"]),
        ("*/15 * * * *", "UTC", ["*-*-* *:00,15,30,45:00 UTC"]),
        ("0 9-11 * jan,jul 1-5", None, ["Mon,Tue,Wed,Thu,Fri *-01,07-* 09,10,11:00:00"]),
        ("0 3 1 * 0", None, ["*-*-01 03:00:00", "Sun *-*-* 03:00:00"]),
        ("0 3 * * 7", None, ["Sun *-*-* 03:00:00"]),
    ],
)
def test_a_line_of_cron_as_systemd_writes_it(line: str, zone: str | None, expected: list[str]) -> None:
    from sluiceway.launch.schedules import on_calendar

    assert on_calendar(line, zone) == expected


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("line", ["30 2 * * *", "*/20 */6 * * *", "0 0 13 * 5", "5 4 1-7 2,3 *", "17 23 * * sun"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_systemd_fires_when_cron_would(line: str, zone: str) -> None:
    from sluiceway.launch.schedules import next_due, on_calendar

    base = datetime(2026, 11, 29, 12, 0, 30, tzinfo=UTC)
    ours = [base]
    for _ in range(5):
        ours.append(next_due(line, zone, ours[-1]))
    theirs: set[str] = set()
    for each in on_calendar(line, zone):
        command = ["systemd-analyze", "calendar", "--iterations=5", "--base-time", "2026-11-29 12:00:30 UTC", each]
        said = subprocess.run(command, env={"TZ": "UTC"}, capture_output=True, text=True, check=True).stdout
        theirs |= set(re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", said)[:])
    assert [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in ours[1:]] == sorted(theirs - {"2026-11-29 12:00:30"})[:5]
