"""A job as a batch script of Slurm, and a line for scrontab."""

import math
import re
import shlex
from dataclasses import replace
from pathlib import PurePosixPath

from sluiceway.errors import ConfigError
from sluiceway.launch.jobs import Job
from sluiceway.launch.render.place import Place

_PORT = 6379
_PATIENCE = 300


def render(name: str, job: Job, place: Place) -> dict[str, str]:
    """Return the script, and the lines of scrontab where the job has a schedule.

    The folder of the log must be there before the job begins: Slurm makes none, and fails the job without a word.

    Raises:
        ConfigError: the schedule names a time zone, which Slurm does not know.
    """
    root = job.slurm.project or place.root
    script = place.script(f"{name}.sbatch", root)
    place = replace(place, root=root)
    files = {f"{name}.sbatch": _script(name, job, place)}
    if job.schedule:
        if job.schedule.zone:
            raise ConfigError(
                f"jobs.{name}.schedule.zone is {job.schedule.zone}, and scrontab reads times in the controller's zone",
                hint="write the times in that zone, and leave `zone` out",
            )
        files[f"{name}.scrontab"] = _table(name, job, place, script, job.schedule.cron)
    return files


def title(name: str) -> str:
    """Return what a run is called in the queue."""
    return f"sluiceway-{name}"


def _table(name: str, job: Job, place: Place, script: str, cron: str) -> str:
    """Return the lines of scrontab: a small job, which submits the script unless one of it is there already.

    It is no run itself, for scrontab takes neither ``--requeue`` nor a signal to the script, knows no quotes, and
    forgets an entry whose run is cancelled.
    """
    begin, end = place.marks(name)
    options = [f"--job-name={title(name)}-schedule", "--output=/dev/null", "--mem=100M", "--time=5", *_whose(job)]
    there = f"squeue --me --noheader --name={title(name)} --format=%Z | grep --quiet --line-regexp --fixed-strings"
    submits = f"{there} -- {shlex.quote(place.root)} || sbatch {shlex.quote(script)}"
    line = f"{cron} {{ {submits}; }} >> {shlex.quote(f'{place.folder(name)}/scrontab.log')} 2>&1"
    return "\n".join([begin, *(f"#SCRON {each}" for each in options), line, end]) + "\n"


def _whose(job: Job) -> list[str]:
    return [f"--{key}={value}" for key in ("partition", "account", "qos") if (value := getattr(job.slurm, key))]


def _spelt(option: str, value: str) -> str:
    """Write an option of sbatch so that its value may have blanks."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f"--{option}={value}" if re.fullmatch(r"[\w%+,./:@-]+", value) else f'--{option}="{escaped}"'


def _options(name: str, job: Job, place: Place) -> list[str]:
    """Return sbatch's options."""
    slurm, resources = job.slurm, job.resources
    per_node = math.ceil(resources.workers / slurm.nodes)
    options = [
        f"--job-name={title(name)}",
        _spelt("chdir", place.root),
        _spelt("output", place.folder(name).replace("%", "%%") + "/slurm-%j.log"),
        "--open-mode=append",
        f"--nodes={slurm.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={resources.cpus * per_node}",
        f"--mem={resources.mebibytes * per_node}M",
    ]
    options += ["--exclusive"] * (slurm.nodes > 1)  # the end of Ray's symmetric run stops every Ray of this user
    options += [f"--gpus-per-node={resources.gpus * per_node}"] * bool(resources.gpus)
    options += _whose(job)
    if job.budget.hours:
        # The job ends by itself when its budget is spent; Slurm's limit stands behind it.
        options.append(f"--time={math.ceil(job.budget.hours * 60) + math.ceil(job.grace / 60) + 1}")
    return [*options, "--requeue", f"--signal=B:TERM@{job.grace}"]


def _script(name: str, job: Job, place: Place) -> str:
    head = "\n".join(f"#SBATCH {each}" for each in _options(name, job, place))
    sets = [f"export {key}={shlex.quote(value)}" for key, value in job.env.items()]
    setup = "".join(f"{line}\n" for line in [*sets, *job.slurm.setup])
    alone = job.slurm.nodes == 1
    run = place.command(name) if alone else _symmetric(name, job, place)
    # Beyond one node the job is a grandchild of srun's, on this very node.
    stop = 'kill -TERM "$job"' if alone else shlex.join([place.program, "job", "cancel", "--requeue", name])
    return f"""\
#!/bin/bash
{head}
set -u
{setup}{run} &
job=$!
# A notice of preemption, or of the end of the time: the job writes a checkpoint and ends with 75.
told=0
trap 'told=1; {stop}' TERM
wait "$job"; code=$?
if [ "$told" = 1 ]; then wait "$job"; code=$?; fi
# A run that was killed cannot tell of it.
if [ "$code" != 0 ]; then {place.check(name)}; fi
if [ "$code" = 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""


def _symmetric(name: str, job: Job, place: Place) -> str:
    """Ray on all nodes, and the job on the first; it ends everywhere when the job does."""
    per_node = math.ceil(job.resources.workers / job.slurm.nodes)
    cpus = job.resources.cpus * per_node
    ray = [f"--num-cpus={cpus}"]
    ray += [f"--num-gpus={job.resources.gpus * per_node}"] * bool(job.resources.gpus)
    folder = shlex.quote(place.folder(name))
    beside = str(PurePosixPath(place.program).parent)
    path = f'export PATH={shlex.quote(beside)}:"$PATH"\n' if beside != "." else ""
    return f"""\
# Without a token, Ray's ports would be open to everybody on the network.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={folder}/ray.token
[ -s "$RAY_AUTH_TOKEN_PATH" ] || (umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \\n' > "$RAY_AUTH_TOKEN_PATH")
# Seconds that the nodes wait for each other; Ray's own 30 are few where Python is read from a shared disk.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT={_PATIENCE} RAY_USAGE_STATS_ENABLED=0
# A head that has gone for 20 seconds does not come back: the other nodes end, with nothing to hand over.
export RAY_gcs_rpc_server_reconnect_timeout_s=20 RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
{path}head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
ended={folder}/slurm-"$SLURM_JOB_ID".code
rm -f "$ended"
everywhere() {{
  srun --ntasks-per-node=1 --cpus-per-task={cpus} --kill-on-bad-exit=1 ray symmetric-run --address "$head:{_PORT}" \\
    --min-nodes {job.slurm.nodes} {" ".join(ray)} -- env RAY_ADDRESS="$head:{_PORT}" \\
    bash -c '"$@"; code=$?; echo "$code" > "$0"; exit "$code"' "$ended" {place.command(name)}
  # Symmetric run ends with 0 where Ray did not start, and srun with what it ended the other nodes by.
  return "$(cat "$ended" || echo 1)"
}}
everywhere"""
