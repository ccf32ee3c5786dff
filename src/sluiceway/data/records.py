"""One field of a record: of a JSON object by its key, of a line of a table by its place."""

import csv
import io
import json

from sluiceway.data.table import BadExample


def pick(record: bytes, key: str) -> bytes:
    """Return one field of a record, as UTF-8.

    Args:
        record: a JSON object, or a line of a table.
        key: of an object, keys with dots between them; of a line, ``place/fields`` and the mark between fields, such as
            ``0/3,``. Between tabs, a quotation mark is one.

    Raises:
        BadExample: it is no such record, or lacks the field.
    """
    if not record.startswith(b"{"):
        return _cell(record, key)
    try:
        found = json.loads(record)
    except ValueError as error:
        raise BadExample("unreadable", f"not JSON: {error}") from None
    found = value_at(found, key)
    if not isinstance(found, str | int | float):
        raise BadExample("missing_field", f"no text at {key}")
    return str(found).encode("utf-8", "surrogatepass")


def value_at(found: object, key: str) -> object:
    """Return what a record has at a key, or at keys with dots between them."""
    for name in [key] if isinstance(found, dict) and key in found else key.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _cell(line: bytes, key: str) -> bytes:
    place, _, rest = key[:-1].partition("/")
    mark = key[-1].encode()
    line = line.rstrip(b"\r\n")
    cells = line.split(mark)
    if b'"' in line and mark != b"\t":
        try:
            # Bytes that are no text stay what they are, and are told of when the field is read.
            text = line.decode("utf-8", "surrogateescape")
            (row,) = csv.reader(io.StringIO(text, newline=""), delimiter=key[-1], strict=True)
        except (csv.Error, ValueError) as error:
            raise BadExample("unreadable", f"its quotes do not match: {error}") from None
        cells = [cell.encode("utf-8", "surrogateescape") for cell in row]
    if len(cells) != int(rest):
        raise BadExample(
            "missing_field" if len(cells) < int(rest) else "extra_field", f"{len(cells)} fields, not {rest}"
        )
    return cells[int(place)]
