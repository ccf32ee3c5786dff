"""The model gate: is the new model really better?"""

from collections.abc import Mapping
from dataclasses import dataclass

from sluiceway.config import ModelGateParams
from sluiceway.gates.verdict import Check, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """How a learner did in the metric that decides."""

    name: str
    value: float
    text: str
    """The value as people read it."""


def judge(
    metric: str,
    *,
    higher_is_better: bool,
    challenger: Standing,
    baselines: tuple[Standing, ...],
    champion: Standing | None,
    scores: Mapping[str, float],
    limits: ModelGateParams,
    pipeline: str,
    subject: str,
) -> Verdict:
    """Hold a model against its thresholds, the baselines and the champion.

    Args:
        metric: name of the metric that decides.
        higher_is_better: its direction.
        challenger: the new model.
        baselines: simpler learners, on the same test split.
        champion: the registered model to beat, on the same test split; None when there is none to compare with.
        scores: every metric of the challenger, for the thresholds.
        limits: of the gate.
        pipeline: whose model it is.
        subject: digest of the model.
    """
    sign = 1.0 if higher_is_better else -1.0
    checks = [_threshold(name, scores, least, 1.0) for name, least in limits.minimum.items()]
    checks += [_threshold(name, scores, most, -1.0) for name, most in limits.maximum.items()]
    if limits.beat_baselines:
        checks += [
            Check(
                name=f"better_than_{_snake(other.name)}",
                passed=sign * (challenger.value - other.value) > 0,
                figure=challenger.value,
                limit=other.value,
                message=f"{metric} is {challenger.text}; {other.name} has {other.text}",
            )
            for other in baselines
        ]
    if champion:
        limit = champion.value - sign * limits.champion_margin
        checks.append(
            Check(
                name="no_worse_than_champion",
                passed=challenger.value >= limit if higher_is_better else challenger.value <= limit,
                figure=challenger.value,
                limit=limit,
                message=f"{metric} is {challenger.text}; the champion, {champion.name}, has {champion.text}",
            )
        )
    return Verdict(gate="model", pipeline=pipeline, subject=subject, checks=tuple(checks), figures=dict(scores))


def _threshold(name: str, scores: Mapping[str, float], limit: float, sign: float) -> Check:
    value = scores.get(name)
    bound = "the least" if sign > 0 else "the most"
    found = (
        f"{name} is {value:.4g}" if value is not None else f"there is no metric {name!r} (known: {', '.join(scores)})"
    )
    return Check(
        name=f"{'minimum' if sign > 0 else 'maximum'}_{name}",
        passed=value is not None and sign * (value - limit) >= 0,
        figure=value,
        limit=limit,
        message=f"{found}; {limit:g} is {bound}",
    )


def _snake(name: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
