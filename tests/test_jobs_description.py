"""``infra/jobs.yaml``: every fault at once, each with its key, its value and a way out; and when a schedule is due."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projects import ROOT
from sluiceway.errors import ConfigError, UnknownName
from sluiceway.launch.description import read_job, read_jobs
from sluiceway.launch.schedules import explain, is_due, last_due, next_due
from sluiceway.stages.job_control import listed
from sluiceway.stages.job_described import job_of


def project(folder: Path, jobs: str, train: str = "{}") -> Path:
    (folder / "params.yaml").write_text("pipelines: {digits: {code: src}}\n", encoding="utf-8")
    (folder / "pipelines" / "digits").mkdir(parents=True)
    (folder / "pipelines" / "digits" / "params.yaml").write_text(f"train: {train}\n", encoding="utf-8")
    (folder / "infra").mkdir()
    (folder / "infra" / "jobs.yaml").write_text(jobs, encoding="utf-8")
    return folder


def test_the_projects_own_jobs_can_be_read() -> None:
    assert read_jobs(ROOT).keys() == {"digits-nightly"}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = """
jobs:
  nightly:
    pipeline: digits
    where: slrum
    schedule: {cron: "61 * * * *", zone: Europe/Berln}
    resources: {workers: 0, memory: 8GB, gpu: 1}
    image: sluiceway:latest
    budget: {hours: -1}
    secrets: [not a name]
    triggers: {new_data: false, new_code: false}
    ray: {address: "10.0.0.1"}
  weekly:
    schedule: {cron: "@daily"}
  Bad_Name:
    pipeline: digitz
    where: k8s
    secrets: hook
    notify: loud
"""
    with pytest.raises(ConfigError) as caught:
        read_jobs(project(tmp_path, text))
    said = caught.value.message
    for fault in (
        "jobs.nightly.where: 'slrum' is not one of local, ray, kubernetes, slurm; did you mean 'slurm'?",
        "jobs.nightly.schedule.cron: '61 * * * *': bad minute",
        "jobs.nightly.schedule.zone: 'Europe/Berln' is no time zone; did you mean 'Europe/Berlin'?",
        "jobs.nightly.resources.workers: 0 should be greater than or equal to 1",
        "jobs.nightly.resources.memory: '8GB' is no size: write a whole number of Mi or Gi, such as 8Gi",
        "jobs.nightly.resources.gpu: no such option; did you mean 'gpus'?",
        "jobs.nightly.image: 'sluiceway:latest' names no version",
        "jobs.nightly.budget.hours: -1 should be greater than 0",
        "jobs.nightly.secrets.0: is the name of an environment variable, such as SLACK_WEBHOOK",
        "jobs.nightly.triggers: nothing would ever start this job",
        "jobs.nightly.ray.address: '10.0.0.1' is no address of a Jobs API: write http://host:8265",
        "jobs.weekly.pipeline: is missing",
        "jobs.weekly.schedule.cron: '@daily' has 1 fields and not 5",
        "jobs.Bad_Name: a job's name is 1 to 40 of a-z, 0-9 and -",
        "jobs.Bad_Name.pipeline: 'digitz' is no pipeline; did you mean 'digits'?",
        "jobs.Bad_Name.where: 'k8s' is not one of local, ray, kubernetes, slurm\n",
        "jobs.Bad_Name.secrets: 'hook' should be a valid list",
        "jobs.Bad_Name.notify: 'loud' should be keys with values",
    ):
        assert fault in said
    assert "18 faults" in said
    assert "docs/job-options.md" in caught.value.hint


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("{pipeline: digts}", "'digts' is no pipeline; did you mean 'digits'?"),
        ("{pipeline: digits}", "1 is less than the 2 that pipelines/digits/params.yaml trains on; write workers: 2"),
        ("{pipeline: digits, where: kubernetes}", "image is missing: infra/Dockerfile builds one"),
        (
            "{pipeline: digits, env: {API_KEY: x}}",
            "env: API_KEY looks like a secret: name it under secrets",
        ),
        ("{pipeline: digits, env: {URI: 'http://a:b@host'}}", "URI looks like a secret"),
        ("{pipeline: digits, env: {'a b': x}}", "jobs.nightly.env.a b: is the name of an environment variable"),
        ("{pipeline: digits, kubernetes: {tolerations: [{kye: gpu}]}}", "tolerations.0.kye: no such option; did you"),
        ("{pipeline: digits, kubernetes: {tolerations: [{value: x}]}}", "bears every taint"),
        (
            "{pipeline: digits, kubernetes: {tolerations: [{key: x, operator: Exists, value: y}]}}",
            "one for any value",
        ),
        ("{pipeline: digits, notify: {webhook: SLACK}}", "SLACK is not among the secrets"),
        ("{pipeline: digits, schedule: {cron: '0 0 L * *'}}", "not every scheduler reads"),
        ("{pipeline: digits, schedule: {cron: '0 0 31 2 *'}}", "bad day-of-month"),
    ],
)
def test_what_does_not_fit_is_told(job: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_jobs(project(tmp_path, f"jobs:\n  nightly: {job}\n", "{workers: [2, 4]}"))
    assert said in caught.value.message


@pytest.mark.parametrize("name", ["Nightly", "a_b", "-a", "a" * 41, '"a b"'])
def test_a_name_that_no_scheduler_takes_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a job's name is 1 to 40 of a-z, 0-9 and -"):
        read_jobs(project(tmp_path, f"jobs:\n  {name}: {{pipeline: digits}}\n"))


@pytest.mark.parametrize(
    "job",
    [
        "{notify: {webhook: 'https://hooks.example.org/T0/hunter2'}}",
        "{notify: 'https://hooks.example.org/T0/hunter2'}",
        "{notify: {on: ['https://hooks.example.org/T0/hunter2']}}",
        "{secrets: ['https://hooks.example.org/T0/hunter2']}",
        "{secrets: 'https://hooks.example.org/T0/hunter2'}",
        "{ray: {address: 'http://ann:hunter2@head:8265'}}",
        "{notify: {webhook: https://hooks.example.org/T0/hunter2: }}",
    ],
)
def test_an_address_that_was_pasted_is_not_printed(job: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_jobs(project(tmp_path, f"jobs:\n  nightly: {job}\n"))
    assert "hunter2" not in caught.value.message


def test_a_job_is_read_whatever_the_others_are_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """
jobs:
  nightly: {pipeline: digits}
  moon: {pipeline: digits, where: moon}
  strange: {pipeline: digitz}
  No_Name: {pipeline: digits}
  nothing:
"""
    root = project(tmp_path, text)
    assert job_of(root, "nightly").pipeline == "digits"
    told = capsys.readouterr().err
    for fault in (
        "jobs.moon.where: 'moon'",
        "jobs.strange.pipeline",
        "jobs.No_Name: a job's name",
        "jobs.nothing: None",
    ):
        assert fault in told
    with pytest.raises(ConfigError, match=r"1 fault:\n.*jobs\.moon\.where: 'moon' is not one of"):
        job_of(root, "moon")
    with pytest.raises(ConfigError, match="has 4 faults"):
        listed(root)
    assert "nightly  digits" in capsys.readouterr().out


def test_a_file_without_jobs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path, "jobs:\n")
    listed(root)
    assert "has no jobs yet" in capsys.readouterr().out
    with pytest.raises(UnknownName, match="unknown job 'nightly'"):
        read_job(root, "nightly")


def test_parameters_of_the_pipeline_that_cannot_be_read_are_told_elsewhere(tmp_path: Path) -> None:
    root = project(tmp_path, "jobs:\n  nightly: {pipeline: digits}\n", "{workers: [")
    assert read_job(root, "nightly").resources.workers == 1


def test_an_unknown_job_lists_the_known_ones(tmp_path: Path) -> None:
    root = project(tmp_path, "jobs:\n  nightly: {pipeline: digits}\n")
    with pytest.raises(UnknownName) as caught:
        read_job(root, "nightl")
    assert "nightly" in caught.value.hint


def test_no_file_is_a_fault_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("pipelines: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"infra/jobs\.yaml does not exist"):
        read_jobs(tmp_path)


# When a schedule is due.

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "zone", "now", "expected"),
    [
        ("0 12 * * *", "UTC", NOON, NOON),
        ("0 12 * * *", "UTC", NOON + timedelta(seconds=59), NOON),
        ("0 12 * * *", "UTC", NOON - timedelta(seconds=1), NOON - timedelta(days=1)),
        ("0 13 * * *", "Europe/Berlin", NOON, NOON),
        ("45 17 * * *", "Asia/Kathmandu", NOON, NOON),
        ("0 13 * * *", "Europe/Berlin", datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 7, 1, 11, tzinfo=UTC)),
    ],
)
def test_the_last_moment_of_a_schedule(line: str, zone: str, now: datetime, expected: datetime) -> None:
    assert last_due(line, zone, now) == expected


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 3 1 * 1", "59 23 * * sun"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
)
def test_the_next_moment_is_the_last_one_when_it_has_come(now: datetime, line: str, zone: str) -> None:
    coming = next_due(line, zone, now)
    assert last_due(line, zone, now) <= now < coming
    assert last_due(line, zone, coming) == coming


def test_a_schedule_is_due_once_and_caught_up_after_a_pause() -> None:
    yesterday = NOON - timedelta(days=1)
    assert is_due("0 12 * * *", "UTC", NOON + timedelta(minutes=3), yesterday)
    assert not is_due("0 12 * * *", "UTC", NOON + timedelta(minutes=3), NOON + timedelta(seconds=5))
    assert is_due("0 12 * * *", "UTC", NOON + timedelta(hours=9), yesterday)  # the machine was off at noon


def test_without_a_record_only_the_present_counts() -> None:
    assert is_due("0 12 * * *", "UTC", NOON + timedelta(minutes=14), None)
    assert not is_due("0 12 * * *", "UTC", NOON + timedelta(hours=2), None)


def test_a_schedule_is_said_in_words() -> None:
    assert explain("30 2 * * 1-5", "Europe/Berlin") == "at 02:30 on Monday through Friday, Europe/Berlin"
