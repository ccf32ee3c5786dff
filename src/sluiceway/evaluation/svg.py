"""The few marks that the report's figures are made of, as SVG text.

Figures are drawn for a narrow column and scaled by the page, so one drawing is readable on a telephone and on a desk.
They carry their own colours and name no file, font or date: the same figures give the same bytes, anywhere.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

WIDTH = 360
"""Units of every figure's view box; the page shows one unit as about one pixel."""

INK, MUTED, BAR, GRID, GROUND, PAPER = "#1b2733", "#52606d", "#b4bfca", "#e1e7ec", "#f4f6f8", "#ffffff"
BLUE, ORANGE, TEAL, RED = "#1f62a8", "#c05a0a", "#0f766e", "#b3261e"
SERIES = (BLUE, ORANGE, TEAL)
"""Colours that stay apart for colour-blind readers; dashes tell them apart in print."""
DASHES = ("none", "5 3", "1.5 2.5")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Arial, sans-serif"
TEXT = 12.5
"""Height of the letters."""
_LEGEND_STEP = 38  # width of a legend's entry beside its name: the sample and the gaps


def element(tag: str, content: str = "", /, **attributes: str | float) -> str:
    """Write one element. Content is markup already; attributes are escaped; ``_`` in a name stands for ``-``."""
    pairs = "".join(f' {name.strip("_").replace("_", "-")}="{_written(value)}"' for name, value in attributes.items())
    return f"<{tag}{pairs}>{content}</{tag}>" if content else f"<{tag}{pairs}/>"


def text(x: float, y: float, words: str, fill: str = INK, **attributes: str | float) -> str:
    """Write words at a place; they are escaped here."""
    return element("text", escape(words), x=x, y=y, fill=fill, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = GRID, **attributes: str | float) -> str:
    """Draw a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, **attributes)


def path(points: Iterable[tuple[float, float]], stroke: str, **attributes: str | float) -> str:
    """Draw a line through points; one that is not finite breaks it."""
    steps, pen_down = [], False
    for x, y in points:
        finite = math.isfinite(x) and math.isfinite(y)
        if finite:
            steps.append(f"{'L' if pen_down else 'M'}{_written(x)} {_written(y)}")
        pen_down = finite
    # A lone point is drawn too, as a short dash.
    d = "".join(steps) + ("h3" if len(steps) == 1 else "")
    return element("path", d=d, fill="none", stroke=stroke, stroke_linejoin="round", **attributes)


def drawing(height: float, label: str, parts: Iterable[str], width: float = WIDTH) -> str:
    """Put marks together to an inline SVG; ``label`` says to those who do not see it what it shows."""
    return element(
        "svg",
        "".join(parts),
        viewBox=f"0 0 {_written(width)} {_written(height)}",
        role="img",
        aria_label=label,
        font_family=FONT,
        font_size=TEXT,
        xmlns="http://www.w3.org/2000/svg",
    )


def series_style(index: int) -> dict[str, str]:
    """Return the colour and the dashes of the series at this place."""
    return {"stroke": SERIES[index % len(SERIES)], "stroke_dasharray": DASHES[index % len(DASHES)]}


def legend(names: Sequence[str], x: float, y: float) -> str:
    """Draw the names of series beside a sample of their lines; names too long to stand in one row are cut."""
    room = (WIDTH - x) / max(1, len(names)) - _LEGEND_STEP
    fits = sum(width_of(name) + _LEGEND_STEP for name in names) <= WIDTH - x
    parts = []
    for index, name in enumerate(names):
        shown = name if fits else shorten(name, int(room / width_of("m")))
        parts.append(path([(x, y - 4), (x + 18, y - 4)], **series_style(index), stroke_width=2))
        parts.append(text(x + 24, y, shown))
        x += width_of(shown) + _LEGEND_STEP
    return "".join(parts)


def width_of(words: str) -> float:
    """Estimate how wide words are; on the safe side for the fonts above."""
    return 0.58 * TEXT * len(words)


def shorten(words: str, most: int) -> str:
    """Cut words to so many characters."""
    return words if len(words) <= most else words[: most - 1] + "…"


def _written(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
