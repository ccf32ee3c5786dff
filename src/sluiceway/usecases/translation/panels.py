"""What the evaluation report shows: translations side by side, where they fail, and what the network looked at.

Shapes: N test pairs, S source tokens, T target tokens.
"""

import html
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Encoding, Evidence, Outcomes, Panel, device_of
from sluiceway.usecases.translation.encoding import END, PADDING, padded, tokenizer_of
from sluiceway.usecases.translation.overlap import chrf, sentence_chrf

if TYPE_CHECKING:
    from sluiceway.models.seq2seq import Seq2Seq

_SAMPLES, _EXTREMES, _PARTS = 4, 3, 6
_LEAST_WORDS = 5
"""Words of a reference from which on its score says something."""
_MOST_SHOWN = 24
"""Tokens of the sentence whose attention is drawn."""
_BASELINE = "IBM model 1"


def show(evidence: Evidence) -> list[Panel]:
    """Show samples, the best and the worst, quality by length, and the attention of one sentence."""
    panels = [_samples(evidence), _extremes(evidence), _lengths(evidence)]
    picture = _attention(evidence)
    return [*panels, picture] if picture else panels


def _samples(evidence: Evidence) -> Panel:
    places = np.linspace(0, len(evidence.outcomes["row"]) - 1, _SAMPLES).astype(int)
    caption = "Test pairs at even distances. IBM model 1 puts the likeliest word for each word."
    return Panel("Translations", caption, "".join(_entry(evidence, place) for place in places.tolist()))


def _extremes(evidence: Evidence) -> Panel:
    outcomes = evidence.outcomes
    scores = sentence_chrf(outcomes)
    enough = np.flatnonzero([len(text.split()) >= _LEAST_WORDS for text in outcomes["reference"].tolist()])
    order = enough[np.argsort(-scores[enough], kind="stable")]
    shown = [*order[:_EXTREMES].tolist(), *order[-_EXTREMES:].tolist()]
    caption = (
        f"The {_EXTREMES} best and the {_EXTREMES} worst by chrF, of references of {_LEAST_WORDS} words or more. Among "
        "the worst are often pairs that do not belong together: see the label errors in the data report."
    )
    entries = "".join(_entry(evidence, place, scores[place]) for place in shown)
    return Panel("Best and worst", caption, entries)


def _entry(evidence: Evidence, place: int, score: float | None = None) -> str:
    outcomes = evidence.outcomes
    lines = [
        ("source", outcomes["source"][place]),
        ("reference", outcomes["reference"][place]),
        ("network" if score is None else f"network, chrF {score:.0f}", outcomes["translation"][place]),
    ]
    other = evidence.baselines.get(_BASELINE)
    if other is not None and np.array_equal(other["row"], outcomes["row"]):
        lines.append((_BASELINE, other["translation"][place]))
    cells = [(name, html.escape(text)) for name, text in lines]
    cells[2] = (cells[2][0], f"<b>{cells[2][1]}</b>")
    rows = "".join(f'<tr><th style="width:9em">{name}</th><td>{text}</td></tr>' for name, text in cells)
    return f'<table style="margin-bottom:1.6em">{rows}</table>'


def _lengths(evidence: Evidence) -> Panel:
    outcomes = evidence.outcomes
    words = np.array([len(text.split()) for text in outcomes["source"].tolist()])
    edges = np.unique(np.quantile(words, np.linspace(0, 1, _PARTS + 1)).astype(int))
    lines = []
    for low, high in pairwise(edges.tolist()):
        part = (words >= low) & ((words < high) | (high == edges[-1]))
        if not part.any():
            continue
        ours, theirs = (_of(each, part) for each in (outcomes, evidence.baselines.get(_BASELINE)))
        last = high if high == edges[-1] else high - 1
        bar = f'<span style="display:inline-block;height:.7em;background:#1f62a8;width:{(ours or 0):.0f}px"></span>'
        other = "" if theirs is None else f"{theirs:.1f}"
        cells = (f"{low} to {last}", f"{int(part.sum()):,}", f"{ours:.1f} {bar}", other)
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = f"<tr><th>words of the source</th><th>pairs</th><th>chrF</th><th>{_BASELINE}</th></tr>"
    return Panel("By length", "chrF of short and of long sentences.", f"<table>{head}{''.join(lines)}</table>")


def _of(outcomes: Outcomes | None, part: npt.NDArray[np.bool_]) -> float | None:
    if outcomes is None or len(outcomes["row"]) != len(part):
        return None
    return chrf({name: column[part] for name, column in outcomes.items()})


# The attention of one sentence.


def _attention(evidence: Evidence) -> Panel | None:
    """Draw which source token each token of a translation comes from; None where the network has no lexicon."""
    from sluiceway.models.seq2seq import Seq2Seq

    model, tokenizer = evidence.model, tokenizer_of(evidence.encoding)
    if not isinstance(model, Seq2Seq) or model.lexicon is None:
        return None
    for place in range(len(evidence.outcomes["row"])):
        pair = [tokenizer.encode(evidence.outcomes[side][place]) for side in ("source", "translation")]
        if all(6 <= len(each.ids) < _MOST_SHOWN for each in pair):
            break
    else:
        return None
    chances = looked_at(model, evidence.encoding, pair[0].ids, pair[1].ids)
    names = [[tokenizer.decode([number]) for number in each.ids] + ["(end)"] for each in pair]
    caption = (
        "Which token of the source (above) each token of the translation (left) comes from, as the attention that asks "
        "the lexicon has it. Dark is sure."
    )
    return Panel("Where words come from", caption, _grid(chances, names[0], names[1]))


def looked_at(
    model: "Seq2Seq", encoding: Encoding, source: Sequence[int], target: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Return how much each target token, END included, looks at each source token, END included: [T + 1, S + 1]."""
    import torch

    assert model.lexicon is not None  # noqa: S101
    longest, place = encoding["longest"], device_of(model)
    given = torch.from_numpy(padded([*source, END], longest).astype(np.int64))[None].to(place)
    written = torch.from_numpy(padded([END, *target], longest).astype(np.int64))[None].to(place)
    with torch.inference_mode():
        memory = model.read(given[:, : int((given != PADDING).sum())])
        hidden = model.write(written[:, : int((written != PADDING).sum())], memory)
        return np.asarray(model.lexicon.look(hidden, memory, 0)[0].cpu().numpy(), np.float32)


def _grid(chances: npt.NDArray[np.float32], across: Sequence[str], down: Sequence[str]) -> str:
    def cells(values: Iterable[float]) -> str:
        style = "width:1.4em;background:rgba(31,98,168,{0:.2f})"
        return "".join(f'<td style="{style.format(value)}" title="{value:.0%}"></td>' for value in values)

    turned = "writing-mode:vertical-rl;text-align:left;font-weight:normal"
    head = "".join(f'<th style="{turned}">{html.escape(name.strip())}</th>' for name in across)
    rows = "".join(
        f"<tr><th>{html.escape(name.strip())}</th>{cells(values)}</tr>"
        for name, values in zip(down, chances.tolist(), strict=True)
    )
    return f'<div style="overflow-x:auto"><table><tr><th></th>{head}</tr>{rows}</table></div>'
