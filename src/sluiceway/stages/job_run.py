"""``sluiceway job run``: one run of a job, from a clean tree of its ref to a pushed result, or a clear word why not."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sluiceway.errors import LaunchError, SluicewayError
from sluiceway.gates.verdict import GateName
from sluiceway.launch.changes import CLOSES, PREEMPTED, Decision, changes_of, decide, drifted, failure_of, last_error
from sluiceway.launch.commands import Commands, Stopped, environment
from sluiceway.launch.data import Data
from sluiceway.launch.jobs import Job
from sluiceway.launch.leftovers import end_leftovers
from sluiceway.launch.notify import beat, notify
from sluiceway.launch.outcome import CANCELLED, Outcome, closed, registered, report
from sluiceway.launch.records import JobPlaces, Record, rayjob
from sluiceway.launch.schedules import is_due
from sluiceway.launch.secrets import load_secrets
from sluiceway.launch.worktree import Source, check_out, data_of, publish, source
from sluiceway.stages.job_described import job_of
from sluiceway.stages.job_lost import tell, untold
from sluiceway.stages.job_results import Results, budget_seconds
from sluiceway.usecases.pipeline import project_params

_PAUSE = 2.0
"""Seconds before a crashed run is begun again, times the number of tries."""


def run(root: Path, name: str, *, if_due: bool = False) -> int:
    """Run a job once and return its exit code.

    It is 0, 1 (crashed), 3 (a gate is closed), 75 (preempted; queue it again) or 130 (cancelled; do not).

    Args:
        root: the project.
        name: the job.
        if_due: whether to do so only if its schedule fired since the last run.

    Raises:
        UnknownName: there is no such job.
        ConfigError: ``infra/jobs.yaml`` has faults, or a secret is missing.
        Busy: it runs already.
    """
    job = job_of(root, name)
    places = JobPlaces.of(root, name)
    due = not if_due or _due(job, places)
    if not due and not untold(places):
        return 0
    load_secrets(root, job)
    with places.alone():
        tell(root, name, job, places, print)
        if not due:
            return 0
        if (before := places.last()) and _is_final(before):
            print(f"{name}: not begun again for RayJob {before.rayjob}: {before.sentence}")  # noqa: T201
            return before.exit_code or 0
        record = places.begin()
        log = places.log(record)
        with log.open("w", encoding="utf-8") as file, places.beating(record):
            commands, hint = Commands(places.tree, environment(places.tree), file, job.grace), ""
            try:
                outcome = _Run(root, name, job, places, record, commands).whole()
            except SluicewayError as error:
                outcome, hint = Outcome("failed", f"{name}: {error.message}"), error.hint
            except BaseException as error:
                places.end(record, "failed", f"{name}: {type(error).__name__}", 1)
                raise
            outcome = replace(outcome, links={**outcome.links, "log": str(log)})
            commands.say(outcome.sentence + f"\n  try: {hint}" * bool(hint))
            cancelled = outcome.event == "preempted" and places.cancelled(record).exists()
            code = CANCELLED if cancelled else outcome.exit_code
            places.end(record, outcome.event, outcome.sentence, code)
            places.remember(told=notify(job.notify, outcome, root, commands.say))
            beat(job.notify, commands.say)
    return code


def _is_final(before: Record) -> bool:
    """Whether this RayJob's run failed by itself, or was cancelled: KubeRay begins it anew as after a lost cluster."""
    return before.rayjob == rayjob() != "" and (before.event == "failed" or before.exit_code == CANCELLED)


def _due(job: Job, places: JobPlaces) -> bool:
    if job.schedule is None:
        return True
    before, last = ([None, None, *places.records()])[-2:]
    if last and last.state == "lost" and not (before and before.state == "lost"):
        return True  # it goes on, once: what loses every run is not to be started again and again
    since = [datetime.fromisoformat(last.started)] if last else []
    if places.installed.exists():
        since.append(datetime.fromtimestamp(places.installed.stat().st_mtime, UTC))
    return is_due(job.schedule.cron, job.schedule.zone, datetime.now(UTC), max(since, default=None))


@dataclass(frozen=True, slots=True)
class _Run:
    """One run."""

    root: Path
    name: str
    job: Job
    places: JobPlaces
    record: Record
    commands: Commands

    def whole(self) -> Outcome:
        """Do all of it under the job's budget."""
        spent = self.places.memory().get("spent", 0.0)
        began = time.monotonic()
        seconds = budget_seconds(self.root, self.job)
        try:
            with self.commands.stoppable(None if seconds is None else max(1.0, seconds - spent)):
                outcome = self._steps()
        except Stopped as stopped:
            outcome = self._stopped(stopped)
        # Whoever is preempted goes on with what is left of the budget.
        left = spent + time.monotonic() - began if outcome.event == "preempted" else 0.0
        self.places.remember(event=outcome.event, sentence=outcome.sentence, spent=left)
        return outcome

    def _steps(self) -> Outcome:
        there = source(self.root, self.name, self.job.ref, self.job.remote, wait=self.commands.pause)
        self.commands.say(f"job {self.name}: {self.job.pipeline} at {there.ref} ({there.commit[:12]})")
        self.places.write(replace(self.record, commit=there.commit))
        end_leftovers(self.places.tree, self.job.grace, self.commands.say)
        check_out(there, self.places.tree, self.job.pipeline)
        data = Data(self.root, self.commands, self.job.pipeline)
        data.connect()
        data.pull()
        data.update()
        self._check_raw()
        decision = self._decide(data)
        self.commands.say(decision.why)
        if not decision.run:
            return self._as_before(decision)
        data.ask_remote()
        outcome = self._reproduce(data)
        if outcome.event not in ("failed", "preempted"):
            data.push()
            made = publish(there, self.places.tree, self.job.pipeline, self._message(outcome, there))
            outcome = replace(outcome, links={**outcome.links, there.branch: made})
            self.commands.say(data.fetching(there.branch))
        return outcome

    def _check_raw(self) -> None:
        tree, pipeline = self.places.tree, self.job.pipeline
        if not data_of(tree, pipeline) and pipeline not in project_params(tree).samples:
            raise LaunchError(
                f"{self.job.ref} says nothing of data/raw/{pipeline}: a clean tree has no data",
                hint=f"`dvc add data/raw/{pipeline}`, or `dvc import-url`, then commit data/raw/{pipeline}.dvc",
            )

    def _decide(self, data: Data) -> Decision:
        memory, mark = self.places.memory(), self._mark()
        self.places.remember(mark=mark)
        if memory.get("mark") == mark and memory.get("event") == "closed":
            return Decision(False, "nothing changed since the gate closed")
        resumes = memory.get("mark") == mark and memory.get("event") in ("preempted", "failed", "lost")
        days = self._results.champion_days() if self.job.triggers.champion_days else None
        decision = decide(changes_of(data.status()), self.job.triggers, days, resumes)
        if decision.ask_drift and self.job.triggers.drift:
            data.reproduce("validate").checked()
            return drifted(self._results.drift(), self.job.triggers.drift)
        return decision

    def _mark(self) -> str:
        """Digest of all that decides what a run will do: the ref's files, imported data and the budget."""
        tree = self.places.tree
        files = [path.read_bytes() for path in data_of(tree, self.job.pipeline)]
        commit = self.commands.run("git", "rev-parse", "HEAD^{tree}", quiet=True).checked().output
        return sha256(b"\0".join([commit.encode(), self.job.budget.model_dump_json().encode(), *files])).hexdigest()

    def _as_before(self, decision: Decision) -> Outcome:
        memory = self.places.memory()
        if memory.get("event") == "closed":
            return Outcome("closed", memory["sentence"], again=memory.get("told", True))
        return Outcome("unchanged", f"{self.name}: {decision.why}")

    def _reproduce(self, data: Data) -> Outcome:
        """Run the stages; what crashed is tried again, a closed gate and a preemption are not."""
        for attempt in range(self.job.retries + 1):
            time.sleep(_PAUSE * attempt)
            done = data.reproduce()
            if done.code == 0:
                return self._registered(f"Running stage 'register@{self.job.pipeline}'" in done.output)
            failure = failure_of(done.output)
            if failure.code == PREEMPTED:
                kept = last_error(done.output) or "its work is saved"
                return Outcome("preempted", f"{self.name}: {failure.stage} was preempted; {kept}")
            verdict = self._results.verdict(CLOSES.get(failure.stage, ""))
            if verdict and not verdict.open:
                self._say_verdicts(verdict.gate)
                return replace(closed(self.name, verdict), links=self._results.page() if verdict.gate == "data" else {})
            self.commands.say(f"{failure.stage or 'dvc repro'} failed, try {attempt + 1} of {self.job.retries + 1}")
        why = last_error(done.output) or f"exit code {failure.code if failure.code is not None else done.code}"
        return Outcome("failed", f"{self.name}: {failure.stage or 'dvc repro'} of {self.job.pipeline} failed: {why}")

    def _registered(self, anew: bool) -> Outcome:
        made, verdict = self._results.registration(), self._results.verdict("model")
        if verdict is None:
            raise LaunchError(f"{self._results.reports}/verdicts/model.json is missing after register")
        self._say_verdicts()
        if not anew:
            same = f"{self.name}: what changed gives the same model: version {made['version']} stands"
            return Outcome("unchanged", same)
        outcome = registered(
            self.name,
            self.job.pipeline,
            made["name"],
            made["version"],
            made["champion"],
            verdict,
            made.get("before", 0),
        )
        return replace(outcome, links=self._results.links(made["run_id"]))

    def _say_verdicts(self, last: GateName = "model") -> None:
        for line in report(self._results.verdicts(last)):
            self.commands.say(line)

    @property
    def _results(self) -> Results:
        return Results(self.places.tree, self.job.pipeline)

    def _stopped(self, stopped: Stopped) -> Outcome:
        # The training knows best, and says so where it could not save.
        kept = last_error(stopped.output).removeprefix("told to leave: ")
        if stopped.why == "preempted":
            kept = kept or "what was done is saved, and goes on from there"
            return Outcome("preempted", f"{self.name}: told to stop; {kept}")
        return Outcome("closed", f"{self.name}: the job's budget is spent; {kept or 'what was done is saved'}")

    def _message(self, outcome: Outcome, there: Source) -> str:
        told = outcome.sentence.removeprefix(f"{self.name}: ")
        return f"{told}\n\nJob: {self.name}\nPipeline: {self.job.pipeline}\nCode: {there.commit} ({there.ref})\n"
