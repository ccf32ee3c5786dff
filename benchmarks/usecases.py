"""The built-in pipelines from raw data to a registered model: scores beside the baselines, and seconds.

    python benchmarks/usecases.py --write            # all of them, each in one fresh clone; about 40 minutes
    python benchmarks/usecases.py --only tones       # one, printed

A score has its 95 % interval by bootstrap over groups; *ahead by* is the paired difference on the same test items, or
the same episodes, with its interval. A baseline of a single figure (``xz``) cannot be paired: there the interval is the
model's own. ``--write`` writes ``benchmarks/results/usecases.md``; what did not run stays.
"""

import argparse
import csv
import math
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sluiceway.evaluation.scores import Score, unpaired_difference
from spine import ROOT, Clone, clone_of, machine, origin, table

RESULTS = ROOT / "benchmarks" / "results" / "usecases.md"
CURVE = 6
"""Points of the validation curve that are written down."""


def measured(clone: Clone, name: str) -> list[str]:
    """Run one pipeline, and say what came of it."""
    seconds = clone.run("dvc", "repro", f"register@{name}")
    evaluation, training = clone.report(name, "evaluation.json"), clone.report(name, "training.json")
    verdict, pipeline = clone.report(name, "verdicts/model.json"), clone.pipeline(name)
    metric = pipeline.metrics[0]
    others = [each for each in pipeline.metrics if each.name in evaluation["model"]][1:3]
    learners = {pipeline.params.model.name: evaluation["model"], **evaluation["baselines"]}
    rows = [
        [
            learner,
            metric.text(scores[metric.name]["value"]),
            interval(metric, scores[metric.name]),
            "" if learner == pipeline.params.model.name else ahead(metric, evaluation, learner),
            *(metric_text(each, scores.get(each.name)) for each in others),
        ]
        for learner, scores in learners.items()
    ]
    asked = (
        f"{evaluation['episodes']} episodes" if "episodes" in evaluation else f"{evaluation['test_items']:,} test items"
    )
    return [
        f"## {name}",
        "",
        f"{pipeline.usecase.summary}. {asked}; {metric.title.lower()} decides, and "
        f"{'more' if metric.higher_is_better else 'less'} is better.",
        "",
        *table(["learner", metric.title, "95 % interval", "model ahead by", *(each.title for each in others)], rows),
        "",
        f"`dvc repro register@{name}`: **{seconds:.0f} s**, {training['seconds']:.0f} of them training "
        f"{training['parameters']:,} parameters for {training['steps']:,} steps. "
        f"Model gate {verdict['state']}: {verdict['reason']}.",
        "",
        *curve(clone.root / "reports" / name / "curves" / "validation.csv"),
        "",
    ]


def ahead(metric: Any, evaluation: dict[str, Any], learner: str) -> str:
    """Say by how much the model is ahead of a baseline: paired, or of a single figure by the model's own interval."""
    if paired := evaluation["advantages"].get(learner):
        return interval(metric, paired)
    model, other = (
        Score(**{end: math.nan if value is None else value for end, value in scores[metric.name].items()})
        for scores in (evaluation["model"], evaluation["baselines"][learner])
    )
    return f"{interval(metric, unpaired_difference(model, other, metric).document())}, not paired"


def metric_text(metric: Any, score: dict[str, Any] | None) -> str:
    return metric.text(score["value"]) if score and score["value"] is not None else ""


def interval(metric: Any, score: dict[str, Any] | None) -> str:
    if not score or score["low"] is None:
        return ""
    return f"{metric.text(score['low'])} to {metric.text(score['high'])}"


def curve(path: Path) -> list[str]:
    """Tell how the validation figures went, at some steps from the first to the last."""
    with path.open(encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    if not points:
        return []
    kept = sorted({round(at * (len(points) - 1) / (CURVE - 1)) for at in range(CURVE)})
    names = [name for name in points[0] if name != "step"]
    chosen = [points[at] for at in kept]
    rows = [[name, *(f"{float(each[name]):.4g}" for each in chosen)] for name in names]
    return table(["validation, after step", *(f"{int(each['step']):,}" for each in chosen)], rows)


def head() -> list[str]:
    return ["# The use cases, measured", "", *(__doc__ or "").strip().splitlines()[5:], ""]


def joined(earlier: str, parts: dict[str, list[str]], names: list[str]) -> str:
    """Put parts in the place of those of an earlier run; others stay."""
    found = {part.partition("\n")[0]: f"## {part}" for part in re.split(r"^## ", earlier, flags=re.M)[1:]}
    found |= {name: "\n".join(lines) for name, lines in parts.items()}
    return "\n".join([*head(), *(found[name].rstrip() + "\n" for name in names if name in found)])


def main() -> None:
    """Run, print, and write if asked."""
    names = sorted(YAML(typ="safe").load(ROOT / "params.yaml")["pipelines"])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, help="these pipelines")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    chosen = parser.parse_args()
    parts: dict[str, list[str]] = {}
    with clone_of(ROOT) as clone:
        for name in chosen.only or names:
            made = f"Commit {origin(ROOT)}, {machine()}."
            lines = measured(clone, name)
            parts[name] = [*lines[:2], f"{lines[2]} {made}", *lines[3:]]
            print("\n".join(parts[name]), flush=True)
            if chosen.write:
                earlier = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
                RESULTS.write_text(joined(earlier, parts, names), encoding="utf-8")


if __name__ == "__main__":
    main()
