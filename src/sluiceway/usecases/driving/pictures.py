"""Drawings of drives, as SVG, and a film, as GIF: plain lines without axes.

Shapes: T moments, P points of a road.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 360, 150
_COLOURS = ("#52606d", "#1f62a8")
_ROAD, _LINE, _OFF, _GRID = "#e1e7ec", "#1f62a8", "#c05a0a", "#b4bfca"
_MAP = 160
_TENTHS = 8
"""Hundredths of a second that a picture of the film stands: what 12.5 a second are."""
_FILM_COLOURS = 32


def curves(lines: Mapping[str, Floats]) -> str:
    """Draw series in -1..1 over each other, with a legend: values are [T] each."""
    marks = []
    for level, dashes in ((0.5, "4 4"), (0.0, ""), (-0.5, "4 4")):
        y = _level(level)
        marks.append(f'<path d="M0 {y:g}H{_WIDTH}" stroke="{_GRID}" stroke-dasharray="{dashes}"/>')
    for number, (name, values) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        across = np.linspace(0, _WIDTH, max(2, len(values)))[: len(values)]
        marks.append(_path(np.stack([across, _level(values)], 1), colour, 1.6))
        marks.append(f'<text x="{4 + 80 * number}" y="{_HEIGHT - 4}" fill="{colour}" font-size="13">{name}</text>')
    return _svg(_WIDTH, _HEIGHT, marks, f"steering of {' and '.join(lines)} over time")


def track_map(road: Floats, path: Floats, on_road: Sequence[bool], said: str) -> str:
    """Draw a road from above [P, 2], the line that was driven [T, 2], and where the car was off the road [T]."""
    low, size = road.min(0), float(np.ptp(road, axis=0).max())
    scale = (_MAP - 16) / size

    def placed(points: Floats) -> Floats:
        moved = (points - low) * scale + 8
        return np.stack([moved[:, 0], _MAP - moved[:, 1]], 1)

    line, off = placed(path), ~np.array(on_road, bool)
    marks = [_path(placed(np.concatenate([road, road[:1]])), _ROAD, max(4.0, 13 * scale)), _path(line, _LINE, 1.6)]
    start = placed(road[:1])[0]
    marks.append(f'<circle cx="{start[0]:.1f}" cy="{start[1]:.1f}" r="3" fill="{_LINE}"/>')
    marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{_OFF}"/>' for x, y in line[off]]
    return _svg(_MAP, _MAP, marks, said)


def film(frames: Sequence[npt.NDArray[np.uint8]], said: str) -> str:
    """Return frames [H, W, 3] as an animated GIF within HTML, drawn three times as large."""
    from PIL import Image

    # One palette for all, or colours would flicker and nothing would stay the same from one picture to the next.
    middle = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 8)])).quantize(_FILM_COLOURS)
    pictures = [Image.fromarray(frame).quantize(palette=middle, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    first, *others = pictures
    first.save(file, "GIF", save_all=True, append_images=others, duration=10 * _TENTHS, loop=0, optimize=False)
    height, width = frames[0].shape[:2]
    source = base64.b64encode(file.getvalue()).decode()
    style = "image-rendering:pixelated"
    return (
        f'<img alt="{said}" width="{3 * width}" height="{3 * height}" style="{style}" '
        f'src="data:image/gif;base64,{source}">'
    )


def _level(values: Any) -> Any:
    """Return heights in a drawing: up is to the right."""
    return (_HEIGHT - 20) / 2 * (1 - values) + 2


def _path(points: Floats, colour: str, width: float) -> str:
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{steps}" fill="none" stroke="{colour}" stroke-width="{width:.1f}" stroke-linejoin="round"/>'


def _svg(width: int, height: int, marks: Sequence[str], said: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{said}">{"".join(marks)}</svg>'
