"""Which parameters a search tries, and when it decides which of them go on: pure functions, without Ray.

The values of a trial are a function of (``tune.seed``, number): more trials go on with a search, they do not begin
another one. Points are those of a scrambled Halton sequence, which leave smaller gaps than random ones do.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sluiceway.config import TRACKED, CostGateParams, Domain, Tune, parse, read_yaml
from sluiceway.errors import ConfigError
from sluiceway.training.job import Job, fingerprint
from sluiceway.training.plan import Plan
from sluiceway.training.prepare import FREE, prepare
from sluiceway.usecases.pipeline import Pipeline, params_file

SEARCHED = ("model", "objective", "train")
"""Sections that may be searched: all trials learn from the same shards."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Parameters that are tried."""

    number: int
    """Of the trial; 0 has the parameters as they are."""
    values: dict[str, Any]
    """Of the options that are searched, by dotted name."""
    pipeline: Pipeline
    """With these values."""
    job: Job


@dataclass(frozen=True, slots=True)
class Search:
    """All that is tried, and where it is kept."""

    key: str
    """Digest of what decides its results; the number of trials and the budget are none of it."""
    tune: Tune
    candidates: tuple[Candidate, ...]
    shares: tuple[float, ...]
    """Of a training, after which it is decided which trials go on; the last one is the whole."""
    impossible: int
    """Points of the space that were left out, since their values do not fit each other."""


def search(pipeline: Pipeline) -> Search:
    """Draw and check all that will be tried, before anything starts.

    Raises:
        ConfigError: there is nothing to search, or a value that an option cannot have.
        DataError: there is nothing to train on.
    """
    settings = pipeline.params.tune
    _refuse(pipeline)
    document = read_yaml(pipeline.params_file)
    now = prepare(pipeline)
    present = Candidate(0, {name: _present(pipeline, name) for name in settings.space}, pipeline, now)
    found, seen, impossible = [present], {now.subject}, 0
    for number, values in enumerate(points(settings), 1):
        try:
            candidate = _candidate(pipeline, document, number, values)
        except ConfigError:
            impossible += 1
            continue
        if candidate.job.subject not in seen:
            seen.add(candidate.job.subject)
            found.append(candidate)
    sections = [settings.model_dump(mode="json", include={"space", "metric", "best", "grace", "reduction", "seed"})]
    key = fingerprint([_frame(pipeline, document).subject, *sections])
    return Search(key, settings, tuple(found), shares(now.plan, settings.grace, settings.reduction), impossible)


def shares(plan: Plan, grace: float, reduction: int) -> tuple[float, ...]:
    """Return the shares of a training after which trials are compared: 1, 1/r, 1/r², ... down to ``grace``, rising.

    Decisions that would fall on the same validation are one.
    """
    found: list[float] = [1.0]
    while found[-1] / reduction >= grace:
        found.append(found[-1] / reduction)
    boundaries = {rung(plan, share): share for share in reversed(found)}  # of equal ones the largest stays
    return tuple(sorted(boundaries.values()))


def rung(plan: Plan, share: float) -> int:
    """Return the step of the first validation after this share of the training itself."""
    step = plan.pretraining + share * (plan.steps - plan.pretraining)
    return next(boundary for boundary in plan.boundaries if boundary >= min(step, plan.steps) - 1e-6)


def points(settings: Tune) -> Iterator[dict[str, Any]]:
    """Yield the values of every trial but the first."""
    from scipy.stats.qmc import Halton

    if settings.trials == 1:
        return
    names = sorted(settings.space)
    for point in Halton(len(names), rng=settings.seed).random(settings.trials - 1):
        places = dict(zip(names, point, strict=True))
        yield {name: value_at(domain, float(places[name])) for name, domain in settings.space.items()}


def value_at(domain: Domain, u: float) -> Any:
    """Return the value at a place from 0 to 1 (excluded) of a domain; numbers have four significant digits."""
    if domain.choice is not None:
        return domain.choice[int(u * len(domain.choice))]
    if domain.randint:
        low, high = domain.randint
        return low + int(u * (high - low + 1))
    if domain.loguniform:
        least, most = domain.loguniform
        value = math.exp(math.log(least) + u * (math.log(most) - math.log(least)))
    else:
        assert domain.uniform  # noqa: S101 - the only kind left
        least, most = domain.uniform
        value = least + u * (most - least)
    return min(most, max(least, float(f"{value:.4g}")))


def changed(document: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter document with other values of some options; sections that are missing are made.

    Raises:
        ConfigError: what should be a section is none.
    """
    result = copy.deepcopy(dict(document))
    for option, value in values.items():
        put(result, option, value)
    return result


def put(document: Any, option: str, value: Any) -> None:
    """Set an option of a document by its dotted name.

    Raises:
        ConfigError: what should be a section is none.
    """
    *sections, name = option.split(".")
    for section in sections:
        if document.get(section) is None:
            document[section] = {}
        document = document[section]
        if not isinstance(document, Mapping):
            raise ConfigError(f"tune.space: {option} is not an option: {section} is no section")
    document[name] = value


def _refuse(pipeline: Pipeline) -> None:
    """Look at every option and at each of its values, or the ends of its range, alone.

    Raises:
        ConfigError: with every fault, each on its own line.
    """
    settings, where = pipeline.params.tune, params_file(pipeline.name)
    if not settings.space:
        raise ConfigError(
            f"{where} names nothing to search: tune.space is empty",
            hint="write for example `tune: {space: {train.lr: {loguniform: [1e-4, 1e-2]}}}`; docs/tuning.md",
        )
    document = read_yaml(pipeline.params_file)
    faults = [fault for name, domain in settings.space.items() for fault in _faults(pipeline, document, name, domain)]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(
            f"{where} has {count} in tune.space:\n" + "\n".join(f"  {fault}" for fault in faults),
            hint=f"`sluiceway params {pipeline.name}` lists every option with its meaning",
        )


def _faults(pipeline: Pipeline, document: Mapping[str, Any], name: str, domain: Domain) -> Iterator[str]:
    section, _, option = name.partition(".")
    if section not in SEARCHED:
        yield f"{name}: only options of {', '.join(SEARCHED)} can be searched; all trials learn from the same shards"
    elif option == "seed":
        yield f"{name}: all trials have the same seed, or luck would decide"
    elif section == "train" and option in FREE:
        yield f"{name}: changes no result, only how it is come by"
    else:
        said: set[str] = set()
        for value in domain.choice if domain.choice is not None else domain.ends or ():
            try:
                _with(pipeline, document, {name: value})
            except ConfigError as error:
                new = [line.strip() for line in error.message.splitlines()[1:] or [error.message]]
                yield from (f"{name} = {value!r}: {line}" for line in new if line not in said)
                said.update(new)  # an option that does not exist is told once, not for each of its values


def _with(pipeline: Pipeline, document: Mapping[str, Any], values: Mapping[str, Any]) -> Pipeline:
    where = params_file(pipeline.name)
    return replace(pipeline, params=parse(pipeline.usecase.params, changed(document, values), where, TRACKED))


def _candidate(pipeline: Pipeline, document: Mapping[str, Any], number: int, values: dict[str, Any]) -> Candidate:
    made = _with(pipeline, document, values)
    return Candidate(number, values, made, prepare(made))


def _frame(pipeline: Pipeline, document: Mapping[str, Any]) -> Job:
    """Return a training in which what is searched has one fixed value: it decides the rest of the search.

    So a search is still the same when what it found has been written into the parameters.
    """
    fixed = {name: value_at(domain, 0.0) for name, domain in pipeline.params.tune.space.items()}
    try:
        return prepare(_with(pipeline, document, fixed))
    except ConfigError:  # the values do not fit each other: then the parameters as they are
        return prepare(pipeline)


def _present(pipeline: Pipeline, option: str) -> Any:
    place: Any = pipeline.params.model_dump(mode="json", by_alias=True)
    for part in option.split("."):
        place = place[part] if isinstance(place, Mapping) and part in place else None
    return place


def better(settings: Tune, one: float, other: float) -> bool:
    """Whether one score is better than another."""
    return one < other if settings.best == "lowest" else one > other


def score(settings: Tune, values: Sequence[float], *, keep: str) -> float:
    """Return what a trial is worth after these validations: the best one, where the best weights are kept."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan
    if keep == "last":
        return values[-1]
    return min(finite) if settings.best == "lowest" else max(finite)


def budget(settings: Tune, limits: CostGateParams) -> tuple[float, float]:
    """Return the hours and the money that all trials together may take."""
    return settings.max_hours or limits.max_hours, settings.max_cost or limits.max_cost
