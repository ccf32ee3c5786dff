"""Jobs: ``infra/jobs.yaml``, which says once what is run, where, when, with how much, and who is told.

Everything else is made from it: what cron, systemd, Slurm and Kubernetes install (``render``), and the run itself.
A secret is named here and never written: its value is an environment variable where the job runs.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from sluiceway.config import Section
from sluiceway.launch.pods import Kubernetes
from sluiceway.launch.schedules import check_cron, check_zone
from sluiceway.redaction import is_secret

Event = Literal["promoted", "kept", "closed", "failed", "lost", "preempted", "unchanged"]
"""What a run can come to; ``launch/outcome.py`` says what each means."""
_TOLD: tuple[Event, ...] = ("promoted", "kept", "closed", "failed")
Where = Literal["local", "ray", "kubernetes", "slurm"]

_NAME = r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"
"""Of a job: it becomes part of a branch, of unit files and of Kubernetes' names, whose limit is the tightest."""
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_UNITS = {"Mi": 1, "Gi": 1024}


def _is_name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError("a job's name is 1 to 40 of a-z, 0-9 and -, and begins and ends with one of the former")
    return value


def _is_variable(value: str) -> str:
    if not re.fullmatch(_VARIABLE, value):
        # What was found is not said: it is mostly the secret itself, and messages go to logs.
        raise ValueError(
            "is the name of an environment variable, such as SLACK_WEBHOOK, and not the secret itself: put "
            "SLACK_WEBHOOK=... into the environment, or into the job's env_file"
        )
    return value


JobName = Annotated[str, AfterValidator(_is_name)]
Variable = Annotated[str, AfterValidator(_is_variable), Field(title="name of an environment variable")]


class Schedule(Section):
    """When a job starts by itself."""

    cron: str
    """Minute, hour, day of the month, month, day of the week, as in crontab: ``30 2 * * 1-5``."""
    zone: str | None = None
    """Time zone that the times are meant in, such as ``Europe/Berlin``; null: the machine's own."""

    @field_validator("cron")
    @classmethod
    def _can_be_scheduled(cls, value: str) -> str:
        return check_cron(value)

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, value: str | None) -> str | None:
        return value if value is None else check_zone(value)


class Resources(Section):
    """How much a job takes. The workers' share of the training itself is ``train.workers`` of the pipeline."""

    workers: int = Field(1, ge=1)
    """Workers that there must be room for: at least as many as the pipeline trains on."""
    gpus: int = Field(0, ge=0)
    """GPUs of each worker."""
    cpus: int = Field(1, ge=1)
    """CPU cores of each worker."""
    memory: str = Field("4Gi")
    """Memory of each worker: a whole number of ``Mi`` or ``Gi``."""

    @field_validator("memory")
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        if not re.fullmatch(r"[1-9]\d*(Mi|Gi)", value):
            raise ValueError(f"{value!r} is no size: write a whole number of Mi or Gi, such as 8Gi")
        return value

    @property
    def mebibytes(self) -> int:
        """Memory of each worker in MiB."""
        return int(self.memory[:-2]) * _UNITS[self.memory[-2:]]


class Budget(Section):
    """What one run may take, beside the pipeline's cost gate. When it is spent the run ends, and its work stays."""

    hours: float | None = Field(None, gt=0)
    """Hours from start to end; null: no limit."""
    cost: float | None = Field(None, gt=0)
    """Money, in the currency and at the price of the pipeline's ``gates.cost``, for all workers together."""


class Triggers(Section):
    """What is worth a run. A scheduled job looks, and ends at once where there is nothing to do."""

    new_data: bool = True
    """Whether other data - of an imported source, or of the ref - is worth a training by itself."""
    new_code: bool = True
    """Whether other code or other parameters of the ref are."""
    champion_days: float | None = Field(None, gt=0)
    """Days after which the champion is too old: what came since is then trained on, whatever the two above say."""
    drift: float | None = Field(None, gt=0, le=1)
    """Distance of the incoming data from that of the last registered version, beyond which a training is worth its
    price although ``new_data`` alone is not. The data is validated to find out, and no more."""

    @model_validator(mode="after")
    def _leaves_one(self) -> "Triggers":
        if not (self.new_data or self.new_code or self.champion_days or self.drift):
            raise ValueError("nothing would ever start this job: switch one of its triggers on")
        return self


class Notify(Section):
    """Who is told what a run came to."""

    webhook: Variable | None = None
    """Name of the environment variable with the URL of a Slack-compatible webhook."""
    command: list[str] = Field(default_factory=list)
    """Program and arguments; the message is its standard input, and ``SLUICEWAY_EVENT`` says what happened."""
    on: list[Event] = Field(default_factory=lambda: list(_TOLD))
    """Which ends are told of; who wants to know of ``failed`` is told of ``lost`` too."""
    heartbeat: Variable | None = None
    """Name of the environment variable with a URL that is asked at the end of every run, whatever it came to. A service
    behind it tells when that stops, because the machine does not come back."""


class RayCluster(Section):
    """A running Ray cluster, reached through its Jobs API. The token is ``RAY_AUTH_TOKEN``, or Ray's token file."""

    address: str = "http://127.0.0.1:8265"
    """Of the head's dashboard."""
    project: str | None = None
    """Folder of this project on the head, which all nodes see; null: the same as here."""

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/@]+/?", value):
            raise ValueError(f"{value!r} is no address of a Jobs API: write http://host:8265")
        return value.rstrip("/")


class Slurm(Section):
    """A Slurm cluster, on whose nodes the project's folder is shared."""

    partition: str | None = None
    """null: Slurm's default."""
    account: str | None = None
    """null: the user's default."""
    qos: str | None = None
    """null: the account's default."""
    nodes: int = Field(1, ge=1)
    """Nodes that the workers are shared out to; more than one are joined by Ray."""
    project: str | None = None
    """Folder of this project on the nodes; null: the same as here."""
    setup: list[str] = Field(default_factory=list)
    """Lines of shell ahead of everything, such as ``module load cuda`` or the activation of an environment."""


class Job(Section):
    """One job."""

    pipeline: str
    """Which pipeline."""
    ref: str = "main"
    """Branch, tag or commit that is run; of a branch, what the remote has."""
    remote: str = "origin"
    """Git remote that the ref comes from and results go to; without one of this name, the repository itself."""
    where: Where = "local"
    """Where the job runs."""
    schedule: Schedule | None = None
    """When it starts by itself; null: only when it is told to."""
    resources: Resources = Field(default_factory=Resources)
    """How much it takes."""
    budget: Budget = Field(default_factory=Budget)
    """What one run may take."""
    retries: int = Field(1, ge=0, le=10)
    """How often a run that crashed is begun again on the spot; a closed gate never is."""
    grace: int = Field(120, ge=10)
    """Seconds between the notice of a preemption and the end; a checkpoint must be written within."""
    image: str | None = None
    """Container image, with a tag or a digest; Kubernetes only."""
    env: dict[Variable, str] = Field(default_factory=dict)
    """Environment variables that are no secrets, such as ``MLFLOW_TRACKING_URI``: on Kubernetes and Slurm of all nodes,
    elsewhere of the run. Here and on a Ray cluster, what is set already stays."""
    secrets: list[Variable] = Field(default_factory=list)
    """Names of environment variables that must be there."""
    env_file: str | None = None
    """File of lines ``NAME=value`` that only its owner may read, for secrets on this machine and on Slurm."""
    triggers: Triggers = Field(default_factory=Triggers)
    """What is worth a run."""
    notify: Notify = Field(default_factory=Notify)
    """Who is told."""
    ray: RayCluster = Field(default_factory=RayCluster)
    """Where ``where: ray`` is."""
    kubernetes: Kubernetes = Field(default_factory=Kubernetes)
    """How it looks on Kubernetes."""
    slurm: Slurm = Field(default_factory=Slurm)
    """How it looks on Slurm."""

    @field_validator("env")
    @classmethod
    def _are_no_secrets(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            path = name.upper().endswith(("_PATH", "_FILE", "_DIR"))
            if (is_secret(name) and not path) or re.search(r"://[^/\s]*@", text):
                raise ValueError(f"{name} looks like a secret: name it under secrets, its value stays out of this file")
        return value

    @field_validator("image")
    @classmethod
    def _is_pinned(cls, value: str | None) -> str | None:
        if value is not None and not re.search(r"(@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]*)$", value):
            raise ValueError(f"{value!r} names no version: write image:tag or image@sha256:..., and not latest")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Job":
        if self.where == "kubernetes" and self.image is None:
            raise ValueError("where is kubernetes, and image is missing: infra/Dockerfile builds one")
        for key, name in (("webhook", self.notify.webhook), ("heartbeat", self.notify.heartbeat)):
            if name and name not in self.secrets:
                raise ValueError(f"notify.{key} {name} is not among the secrets: add it there")
        return self


class Jobs(Section):
    """``infra/jobs.yaml``."""

    jobs: dict[JobName, Job] = Field(default_factory=dict)
    """Jobs by name."""
