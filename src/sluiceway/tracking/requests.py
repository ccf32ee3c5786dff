"""What a served model was asked: held against what it can answer, before a network or a decoder stumbles over it.

Nothing here imports MLflow: see ``serving``.
"""

from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from sluiceway.data.table import BadExample
from sluiceway.errors import RequestError, meant
from sluiceway.usecases.base import ColumnKind, Serving

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]

_SHOWN = 40
"""Characters of a value that a message shows."""


def rows_of(frame: "DataFrame", serving: Serving) -> list[Row]:
    """Return the rows of a request, with the columns that are asked for and values of their kinds.

    Raises:
        RequestError: it is no table, a column is missing, or a value is of another kind; the first one is named.
    """
    from pandas import DataFrame

    wanted = {name: _KINDS[kind][0] for name, kind in serving.inputs.items()}
    if not isinstance(frame, DataFrame):
        raise RequestError(
            f"a request is a pandas DataFrame, and this is a {type(frame).__name__}",
            hint=f"pandas.DataFrame({{{', '.join(f'{name!r}: [...]' for name in wanted)}}})",
        )
    for name, what in wanted.items():
        if name not in frame.columns:
            there = [str(column) for column in frame.columns]
            near = meant(name, there)
            raise RequestError(
                f"a request has the column {name!r} ({what}), and this one has {', '.join(map(repr, there)) or 'none'}",
                hint=f"name it {name!r}{f': {near}' if near else ''}",
            )
    rows: list[Row] = frame[list(wanted)].to_dict(orient="records")
    return [
        {column: _of_kind(row[column], kind, column, number) for column, kind in serving.inputs.items()}
        for number, row in enumerate(rows)
    ]


def answered(answer: Callable[[list[Row]], list[Row]], rows: list[Row]) -> list[Row]:
    """Answer rows, and name the one that cannot be: a picture that is none, a sound that ends too early.

    Raises:
        RequestError: instead of ``BadExample``.
    """
    try:
        return answer(rows)
    except BadExample as error:
        where, found = next(_refused(answer, rows), ("", error))
        raise RequestError(
            f"{where}{found}", hint="send the bytes of a whole file; in JSON, base64 of them: `base64 -w0 FILE`"
        ) from None


def _refused(answer: Callable[[list[Row]], list[Row]], rows: list[Row]) -> Iterator[tuple[str, BadExample]]:
    """Ask the rows one by one, and yield those that are refused, with the reason."""
    for number, row in enumerate(rows):
        try:
            answer([row])
        except BadExample as error:
            yield f"row {number}: ", error


def _of_kind(value: Any, kind: ColumnKind, column: str, row: int) -> Any:
    what, taken, way_out = _KINDS[kind]
    try:
        return taken(value)
    except (TypeError, ValueError):
        found = "nothing" if _nothing(value) else f"{type(value).__name__} {repr(value)[:_SHOWN]}"
        raise RequestError(f"{column!r} of row {row} is {found}, where the column takes {what}", hint=way_out) from None


def _nothing(value: Any) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half of a pair of surrogates, which JSON can hold, is no text
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or _nothing(value):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError
    return int(value)


def _flag(value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_"):
        raise TypeError
    return bool(value)


_KINDS: Mapping[ColumnKind, tuple[str, Callable[[Any], Any], str]] = {
    "binary": (
        "the bytes of a file",
        _bytes,
        'read the file, `open(path, "rb").read()`; of base64 in Python, `base64.b64decode(text)`',
    ),
    "string": ("text", _text, "give a str"),
    "double": ("a number", _number, "give a float"),
    "long": ("a whole number", _whole, "give an int"),
    "boolean": ("true or false", _flag, "give a bool"),
}
"""By kind of column: what it is for people, what takes a value or raises ``TypeError``, and how to give one."""
