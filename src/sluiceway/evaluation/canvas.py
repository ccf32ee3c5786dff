"""How every figure of the reports is drawn: one style, and SVG text that stands inside a page.

Figures are drawn for a narrow column and scaled by the page, so one drawing is readable on a telephone and on a desk.
Their words stay text, and they name no file and no date: the same figures give the same bytes.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from sluiceway.evaluation.text import number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

WIDTH = 360
"""Units of every figure's view box; the page shows one unit as about one pixel."""
TEXT = 13
"""Height of the letters, in these units."""

INK, MUTED, BAR, GRID, GROUND, PAPER = "#1b2733", "#52606d", "#b4bfca", "#e1e7ec", "#f4f6f8", "#ffffff"
BLUE, ORANGE, TEAL = "#1f62a8", "#c05a0a", "#0f766e"
SERIES = (BLUE, ORANGE, TEAL)
"""Colours that stay apart for colour-blind readers; dashes tell them apart in print."""
_DASHES: "Sequence[LineStyleType]" = ("-", (0, (4, 2)), (0, (1, 1.4)))

_STYLE = {
    # Room is measured with the first font, which matplotlib brings along; the others are narrower, so words always fit.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Segoe UI", "Roboto", "Helvetica Neue", "Arial"],
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "legend.fontsize": TEXT,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.bottom": False,
    "ytick.left": False,
    "axes.edgecolor": BAR,
    "axes.spines.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "lines.linewidth": 1.8,
    "lines.markersize": 8,
    "lines.markeredgecolor": PAPER,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    "legend.borderaxespad": 0.0,
    "legend.handlelength": 1.6,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "figure.constrained_layout.h_pad": 3 / 72,
    "figure.constrained_layout.w_pad": 2 / 72,
    "svg.fonttype": "none",
}
_LETTERS_IN_A_ROW = 40  # that are sure to fit beside each other


def drawing(label: str, height: float, draw: "Callable[[Figure], object]") -> str:
    """Draw a figure and return it as inline SVG.

    Args:
        label: what it shows, for those who do not see it; differs from that of every other figure of the page.
        height: of the view box, whose width is ``WIDTH``.
        draw: puts the marks on the figure.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    file = io.StringIO()
    # A salt of the figure's own: its ids are the same each time, and no other figure of the page has them.
    with style.context(["default", {**_STYLE, "svg.hashsalt": label}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)  # browsers have further fonts
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        draw(figure)
        for artist in figure.findobj():
            artist.set_clip_on(False)  # nothing reaches out of its axes, and a clip path would be one more id
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inline(file.getvalue(), label, height)


def _inline(document: str, label: str, height: float) -> str:
    """Turn a stand-alone SVG document into an element of a page."""
    marks = document[document.index(">", document.index("<svg")) + 1 :]
    # The style sheet would hold for the whole page, and the names of groups stand in every figure alike.
    marks = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", marks, count=1, flags=re.DOTALL)
    marks = re.sub(r'<g id="[^"]*"', "<g", marks)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}" stroke-linejoin="round" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{marks.rstrip()}'
    )


def words_figure(title: str, words: str) -> str:
    """Say in words what cannot be drawn."""
    return drawing(
        f"{title}: {words}", 34, lambda figure: figure.text(0, 0.3, shorten(words, _LETTERS_IN_A_ROW), color=MUTED)
    )


def series_colour(index: int) -> str:
    """Return the colour of the series at this place."""
    return SERIES[index % len(SERIES)]


def series_dashes(index: int) -> "LineStyleType":
    """Return the dashes of the series at this place."""
    return _DASHES[index % len(_DASHES)]


def legend(figure: "Figure", series: "Mapping[str, Artist]") -> None:
    """Write the names of series beside a sample of their marks: in a row above the figure, or one below another."""
    names = [shorten(name, _LETTERS_IN_A_ROW) for name in series]
    in_a_row = sum(len(name) + 5 for name in names) <= _LETTERS_IN_A_ROW
    figure.legend(list(series.values()), names, loc="outside upper left", ncols=len(names) if in_a_row else 1)


def ticks(axis: "Axis", *, factor: float = 1, unit: str = "", most: int = 5) -> None:
    """Label an axis with round figures as people read them, as many as stand beside each other."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def label(value: float, _: int | None = None) -> str:
        return number(float(f"{factor * value:.9g}")) + unit  # without the noise of adding up steps

    if axis.get_scale() != "log":
        longest = max(len(label(float(end))) for end in axis.get_view_interval())
        fitting = most if axis is axis.axes.yaxis else min(most, _LETTERS_IN_A_ROW // (longest + 3))
        axis.set_major_locator(MaxNLocator(max(1, fitting), steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(label))


def shorten(words: str, most: int) -> str:
    """Put words on one line of at most so many characters."""
    words = " ".join(words.split())
    return words if len(words) <= most else words[: most - 1] + "…"
