"""The pictures of what a network learned: how much each layer tells, its first filters, and what excites it."""

import base64
import io
import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.evaluation import text
from sluiceway.evaluation.canvas import BLUE, MUTED, drawing, legend, shorten, ticks
from sluiceway.evaluation.layers.probes import Told
from sluiceway.evaluation.scores import Score
from sluiceway.usecases.base import Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

MOST_FILTERS = 48
"""Filters that are shown; of more, those with the largest weights."""
_IN_A_ROW = 12
_SIDE = 44
"""Pixels of a filter's picture, about."""
MOST_PICTURED = 6
"""Layers whose favourites are shown; of more, some, evenly chosen."""
_CHANNELS = 3
_FAVOURITES = 5
_LETTERS = 42
"""As many letters as there are layers, times those of the longest name, up to which names stand beside each other."""


def depth_figure(told: Told) -> str:
    """Draw the probes' scores against depth: the trained network over the untrained one."""
    names = [shorten(each.layer, 18) for each in told.depths]
    factor, unit = (100, " %") if told.metric.percent else (1, "")
    upright = len(names) * max(map(len, names)) > _LETTERS
    ends = [end for each in told.depths for end in (each.untrained.value, each.trained.value, *_whisker(each.trained))]
    margin = 0.06 * (max(ends) - min(ends)) or 0.01

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        places = range(len(names))
        if min(ends) - 5 * margin < told.chance:
            axes.axhline(told.chance, color=MUTED, ls=(0, (1, 2)), lw=1)
        grey = axes.plot(places, [each.untrained.value for each in told.depths], "o-", color=MUTED, markersize=5)[0]
        for place, each in enumerate(told.depths):
            axes.plot([place] * len(_whisker(each.trained)), _whisker(each.trained), color=BLUE)
        blue = axes.plot(places, [each.trained.value for each in told.depths], "o-", color=BLUE, markersize=7)[0]
        axes.set_xticks(list(places), names, rotation=60 if upright else 0, ha="right" if upright else "center")
        axes.set_xlim(-0.3, len(names) - 0.7)
        axes.set_ylim(min(ends) - margin if min(ends) - 5 * margin >= told.chance else None, max(ends) + margin)
        ticks(axes.yaxis, factor=factor, unit=unit)
        legend(figure, {"trained": blue, "random weights": grey})

    said = "; ".join(
        f"{each.layer}: {text.figure(told.metric, each.trained.value)}, "
        f"untrained {text.figure(told.metric, each.untrained.value)}"
        for each in told.depths
    )
    return drawing(f"{told.metric.title} by layer. {said}", 330 if upright else 270, draw)


def _whisker(score: Score) -> tuple[float, ...]:
    return (score.low, score.high) if score.known else ()


def pictures(network: "nn.Module", told: Told, show: Callable[[int], str] | None) -> list[Panel]:
    """Show what the first layer looks for and what excites each layer, where there is something to see.

    Args:
        network: trained.
        told: what its layers made of test items.
        show: makes the thumbnail of the example in a row; None where there is none.
    """
    found = [filters_panel(network, told.test.shape)]
    if show and told.test.of_items:
        found.append(favourites_panel(told, show))
    return [panel for panel in found if panel]


def filters_panel(network: "nn.Module", image: tuple[int, ...]) -> Panel | None:
    """Show what each unit of the first layer looks for, where its weights are pictures.

    Args:
        network: trained.
        image: shape of what the network is given, without the batch: [C, H, W] or [H, W].
    """
    found = _first_weights(network, image)
    if found is None:
        return None
    weights, said = found
    sheet = _sheet(weights)
    width = min(_IN_A_ROW, len(weights)) * (_SIDE + 4)
    caption = (
        f"{said} Grey is no weight, light a positive one, dark a negative one; each is drawn on its own scale."
        if weights.shape[1] == 1
        else f"{said} Each is drawn on its own scale."
    )
    html = f'<img class="filters" alt="{len(weights)} filters" width="{width}" src="{_png(sheet)}">'
    return Panel("What the first layer looks for", caption, html)


def favourites_panel(told: Told, show: Callable[[int], str]) -> Panel | None:
    """Show the test examples that excite some channels of each layer most.

    Args:
        told: what the layers made of test items.
        show: makes the thumbnail of the example in a row.
    """
    test = told.test
    layers = [each.layer for each in told.depths if test.peaks[each.layer].shape[1]]
    if len(layers) > MOST_PICTURED:
        layers = [layers[at] for at in np.linspace(0, len(layers) - 1, MOST_PICTURED).astype(int)]
    thumbnails: dict[int, str] = {}
    lines = []
    for layer in layers:
        groups = []
        for channel, items in _favourites(test.peaks[layer]):
            rows = [int(test.item_row[item]) for item in items]
            thumbnails |= {row: show(row) for row in rows if row not in thumbnails}
            shown = "".join(f"<span>{thumbnails[row]}</span>" for row in rows)
            groups.append(f'<div class="favourites"><div class="quiet">channel {channel}</div>{shown}</div>')
        if groups:
            lines.append(f'<tr><th scope="row">{escape(layer)}</th><td>{"".join(groups)}</td></tr>')
    if not lines:
        return None
    caption = (
        "For the most selective channels of each layer, the test examples that excite them most. Near the input they "
        "share simple traits, such as a stroke or a pitch; the further up, the more they share what they are."
    )
    return Panel("What excites it", caption, f"<table>{''.join(lines)}</table>")


def _favourites(peaks: npt.NDArray[np.float32]) -> list[tuple[int, list[int]]]:
    """Return the most selective channels, each with its strongest items; first of all the most selective.

    Selective is whose strongest responses stand out the most from its usual ones, in deviations.
    """
    count = min(_FAVOURITES, len(peaks))
    strongest = np.argsort(-peaks, axis=0, kind="stable")[:count]  # [count, C]
    top = np.take_along_axis(peaks, strongest, axis=0).mean(0)
    spread = peaks.std(0)
    alive = spread > 1e-6
    stands_out = np.where(alive, (top - peaks.mean(0)) / np.where(alive, spread, 1), -math.inf)
    channels = [int(each) for each in np.argsort(-stands_out, kind="stable")[:_CHANNELS] if alive[each]]
    return [(channel, strongest[:, channel].tolist()) for channel in channels]


def _first_weights(network: "nn.Module", image: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], str] | None:
    """Return weights as pictures [units, 1 or 3, H, W], and what they are; None where they are none."""
    from torch import nn

    image = (1, *image) if len(image) == 2 else image
    if len(image) != 3:
        return None
    first = next((each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)), None)
    if isinstance(first, nn.Conv2d):
        weights, kind = first.weight, f"filters of {first.kernel_size[0]} x {first.kernel_size[1]} pixels"
    elif isinstance(first, nn.Linear) and first.in_features == math.prod(image):
        weights, kind = first.weight.view(-1, *image), "units, each with its weights to all pixels"
    else:
        return None
    found = weights.detach().float().numpy()
    total = len(found)
    if total > MOST_FILTERS:
        strength = np.square(found).reshape(total, -1).sum(1)
        found = found[np.sort(np.argsort(-strength, kind="stable")[:MOST_FILTERS])]
    if found.shape[1] not in (1, 3):
        kind += f", the first of {found.shape[1]} input channels"
        found = found[:, :1]
    return found, f"{'The' if total == len(found) else f'{len(found)} of the'} {total} {kind}."


def _sheet(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Put filters [N, 1 or 3, H, W] beside each other as one picture [rows, columns, 3]."""
    count, _, height, width = weights.shape
    enlarged = max(1, round(_SIDE / max(height, width)))
    strongest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    shades = (127.5 + 127.5 * weights / np.maximum(strongest, 1e-12)).astype(np.uint8)
    shades = np.broadcast_to(shades, (count, 3, height, width)).repeat(enlarged, 2).repeat(enlarged, 3)
    columns = min(_IN_A_ROW, count)
    rows = math.ceil(count / columns)
    gap = 4
    sheet = np.full((rows * (shades.shape[2] + gap), columns * (shades.shape[3] + gap), 3), 255, np.uint8)
    for number, shade in enumerate(shades):
        top, left = (shade.shape[1] + gap) * (number // columns), (shade.shape[2] + gap) * (number % columns)
        sheet[top : top + shade.shape[1], left : left + shade.shape[2]] = shade.transpose(1, 2, 0)
    return sheet


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
