"""A model to its scores: the whole catalogue is ranked for each held-out choice, and nothing is sampled.

Sampled metrics rank a learner by how it does against a hundred random items, and turn the order of learners round
(Krichene and Rendle, 2020).

Shapes: B histories, N test items, S = the longest history, I items with 0 for none.
"""

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel

if TYPE_CHECKING:
    from torch import nn

TOP = 10
"""How many items are recommended."""
_SHOWN = 5
"""How many items of a history people are shown."""
_USERS = 4
PARTS = 4
"""Of the catalogue, by popularity."""

Ints = npt.NDArray[np.int64]


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Rank all items for each history, and find the held-out one: see :func:`outcomes_of`."""
    import torch

    history = batch["history"].long()
    last = (history > 0).sum(1).clamp(min=1) - 1
    asked = torch.arange(history.shape[1], device=history.device) == last[:, None]
    scores = model(history, asked).float().cpu().numpy()  # [B, I + 1]
    return outcomes_of(scores, batch["seen"].cpu().numpy(), batch["next"].sum(1).cpu().numpy(), encoding)


def outcomes_of(
    scores: npt.NDArray[np.floating], seen: npt.NDArray[Any], wanted: npt.NDArray[Any], encoding: Encoding
) -> Outcomes:
    """Rank items by their scores.

    Args:
        scores: [B, I + 1]. Of equal ones the item that is chosen more often comes first.
        seen: numbers of the items in each history: [B, S]. They are not recommended, unless the encoding says so.
        wanted: the item that was chosen: [B]; 0 is one that the training split does not have.
        encoding: what ``fit`` learned.

    Returns:
        ``wanted``; its ``rank`` from 1, which is one more than there are items where it could not be recommended;
        ``top_1`` to ``top_10``, the numbers of the recommended items, 0 where there is none; ``last_1`` to ``last_5``,
        the end of the history; and ``catalogue``, the number of items: [B] each.
    """
    scores = scores.astype(np.float64)
    scores[:, 0] = -np.inf
    if encoding["exclude_seen"]:
        np.put_along_axis(scores, seen.astype(np.int64), -np.inf, axis=1)  # zeros of the padding hit item 0
    items = scores.shape[1] - 1
    wanted = wanted.astype(np.int64)
    own = np.take_along_axis(scores, wanted[:, None], axis=1)  # [B, 1]
    first = (scores > own) | ((scores == own) & (np.arange(items + 1) < wanted[:, None]))
    rank = np.where(np.isfinite(own[:, 0]), first.sum(1) + 1, items + 1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    top = np.where(np.isfinite(np.take_along_axis(scores, order, axis=1)), order, 0)
    top = np.pad(top, ((0, 0), (0, TOP - top.shape[1])))
    return {
        "wanted": wanted,
        "rank": rank.astype(np.int64),
        "catalogue": np.full(len(wanted), items, np.int64),
        **{f"top_{at + 1}": top[:, at].astype(np.int64) for at in range(TOP)},
        **_ends(seen),
    }


def _ends(seen: npt.NDArray[Any]) -> Outcomes:
    """Return the last items of each history, the latest first."""
    lengths = (seen > 0).sum(1)
    padded = np.pad(seen.astype(np.int64), ((0, 0), (_SHOWN, 0)))  # before its beginning there is none
    rows = np.arange(len(seen))
    return {f"last_{back}": padded[rows, lengths + _SHOWN - back] for back in range(1, _SHOWN + 1)}


def ndcg_10(outcomes: Outcomes) -> float:
    """Normalised discounted cumulative gain of ten recommendations: with one right item, 1 / log2(1 + its rank)."""
    rank = outcomes["rank"]
    return float(np.where(rank <= TOP, 1 / np.log2(1 + rank), 0.0).mean())


def hit_rate_10(outcomes: Outcomes) -> float:
    """Share of the choices that are among ten recommendations."""
    return float((outcomes["rank"] <= TOP).mean())


def mrr(outcomes: Outcomes) -> float:
    """Mean reciprocal rank."""
    return float((1 / outcomes["rank"]).mean())


def coverage_10(outcomes: Outcomes) -> float:
    """Share of the catalogue that is recommended to somebody.

    NaN where a test item is there twice: what a resample, which has fewer users, covers says nothing of the figure.
    """
    if "row" in outcomes and len(np.unique(outcomes["row"])) < len(outcomes["row"]):
        return float("nan")
    shown = np.unique(np.stack([outcomes[f"top_{at + 1}"] for at in range(TOP)]))
    return float(np.count_nonzero(shown) / outcomes["catalogue"][0])


METRICS = (
    Metric("ndcg_10", "NDCG of ten recommendations", higher_is_better=True, compute=ndcg_10),
    Metric("hit_rate_10", "Hit rate of ten recommendations", higher_is_better=True, compute=hit_rate_10, percent=True),
    Metric("mrr", "Mean reciprocal rank", higher_is_better=True, compute=mrr),
    Metric("coverage_10", "Share of the catalogue recommended", True, compute=coverage_10, percent=True),
)


# Panels.


def show(evidence: Evidence) -> list[Panel]:
    """Show some users' recommendations, and how the model does with what is chosen often and what is not."""
    return [_recommendations(evidence), _popularity(evidence)]


def _recommendations(evidence: Evidence) -> Panel:
    outcomes, titles = evidence.outcomes, ["", *evidence.encoding["titles"]]
    entries = []
    for at in np.linspace(0, len(outcomes["rank"]) - 1, _USERS).astype(int).tolist():
        wanted = int(outcomes["wanted"][at])
        before = [int(outcomes[f"last_{back}"][at]) for back in range(_SHOWN, 0, -1)]
        shown = [int(outcomes[f"top_{place + 1}"][at]) for place in range(TOP)]
        chosen = titles[wanted] or "something new"
        past = " | ".join(html.escape(titles[number]) for number in before if number)
        listed = " | ".join(_marked(titles[number], number == wanted) for number in shown if number)
        entries.append(
            f"<blockquote><p>After {past or 'nothing'}:</p><p>{listed}</p>"
            f"<p>Chosen: <b>{html.escape(chosen)}</b>, in place {outcomes['rank'][at]:,}</p></blockquote>"
        )
    caption = f"The last {_SHOWN} choices of some test users, ten recommendations, and what was chosen. A hit is bold."
    return Panel("Recommendations", caption, "".join(entries))


def _marked(title: str, hit: bool) -> str:
    return f"<b>{html.escape(title)}</b>" if hit else html.escape(title)


def parts(encoding: Encoding) -> Ints:
    """Cut the catalogue, from the most to the least chosen item, into parts with equally many choices: [I], from 0."""
    counts = np.array(encoding["counts"], np.int64)
    shares = np.cumsum(counts) / max(1, int(counts.sum()))
    return np.minimum((np.concatenate([[0.0], shares[:-1]]) * PARTS).astype(np.int64), PARTS - 1)


def _popularity(evidence: Evidence) -> Panel:
    """Numbers of items are places by popularity: the catalogue is cut into parts of equally many choices."""
    outcomes, part = evidence.outcomes, parts(evidence.encoding)
    top = np.stack([outcomes[f"top_{at + 1}"] for at in range(TOP)])
    recommended = np.bincount(part[top[top > 0] - 1], minlength=PARTS) / max(1, int(np.count_nonzero(top)))
    lines = []
    for number in range(PARTS):
        chosen = (outcomes["wanted"] > 0) & (part[outcomes["wanted"] - 1] == number)
        score = f"{ndcg_10({'rank': outcomes['rank'][chosen]}):.4f}" if chosen.any() else "none"
        items = np.count_nonzero(part == number)
        cells = (f"{items:,}", f"{chosen.mean():.1%}", f"{recommended[number]:.1%}", score)
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "<tr><th>items</th><th>of the test choices</th><th>of the recommendations</th><th>NDCG</th></tr>"
    caption = (
        "The catalogue from the most to the least chosen items, in parts with a quarter of the training choices each: "
        "who recommends to all what most choose has all recommendations in the first line."
    )
    return Panel("Popularity", caption, f"<table>{head}{''.join(lines)}</table>")
