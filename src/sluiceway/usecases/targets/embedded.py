"""Contents that lie in Parquet files themselves, as Hugging Face keeps them: ``{"bytes": ..., "path": ...}`` per row.

A column of plain bytes is one of contents, too. What else a row says is read as in any list; the names of classes that
Hugging Face's libraries write into the file stand for their numbers.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.data.lists import List, Record, column_of, kind_of, open_list
from sluiceway.data.roles import Roles, named_lists, sided, tables_among
from sluiceway.data.sides import side_of, split_names
from sluiceway.data.sources import field_of, table_row
from sluiceway.data.table import Example, TargetKind
from sluiceway.errors import UnknownLayout, nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from sluiceway.usecases.targets.listing import ListedData

_BYTES, _PATH = "bytes", "path"
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class _Packed:
    """A Parquet file with contents in it."""

    table: List
    key: str
    """Of the bytes: ``image.bytes``, or ``image``."""
    path: str | None
    """Of the contents' own names, where they have any."""
    label: str
    around: Roles
    classes: Sequence[str]
    """Names of the classes whose numbers the column of labels holds; empty where it says what it means."""

    def records(self) -> Iterator[Record]:
        """Read all but the contents, row by row."""
        import pyarrow.parquet as pq

        around = (self.around.group, self.around.split, self.around.time)
        wanted = [*dict.fromkeys(name for name in (self.path, self.label, *around) if name is not None)]
        number = 0
        with pq.ParquetFile(self.table.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
                for values in batch.to_pylist():
                    place = f"row {number + 1} of {self.table.name}"
                    yield Record(place, table_row(self.table.name, number), values)
                    number += 1

    def name(self, record: Record) -> str | None:
        """Return what a content is called by whoever put it there."""
        if self.path is None:
            return None
        outer, _, inner = self.path.partition(".")
        value = record.values.get(outer)
        name = value.get(inner) if isinstance(value, dict) else None
        return str(name) if name else None


def packed_among(files: Sequence[Path], raw: Path, data: "ListedData", target: TargetKind) -> list[_Packed]:
    """Return the Parquet files that hold contents.

    Raises:
        UnknownLayout: it is not clear which column holds them, or one that is needed is missing.
    """
    if data.list_ is not None:
        tables = named_lists(files, raw, data.list_)
    else:
        tables = [open_list(path, raw) for path in tables_among(files) if kind_of(path) == ".parquet"]
    found = [_packed(table, data, target) for table in tables if kind_of(table.path) == ".parquet"]
    return [each for each in found if each]


def read_packed(raw: Path, packed: Sequence[_Packed], target: TargetKind) -> Iterator[Example]:
    """Make an example of each row. The id is the content's own name where names are unique, else file and row.

    Raises:
        UnknownLayout: the files split the data by half.
    """
    tables = [each.table for each in packed]
    by_column = sided(packed, [each.around for each in packed])
    by_file = {} if by_column else split_names(raw, [table.path for table in tables])
    names = Counter(each.name(record) for each in packed for record in each.records())
    unique = None not in names and max(names.values(), default=0) == 1
    for each in packed:
        for record in each.records():
            time, wrong = each.around.time_of(record)
            label = named_target(record, each.label, each.classes, target)
            lost = f"no_target: {record.place} has no {each.label}" if label is None else None
            yield Example(
                id=each.name(record) or "" if unique else record.source.replace("#row=", "#"),
                source=field_of(record.source, each.key),
                target=label,
                group=record.text(each.around.group),
                split=side_of(record.text(each.around.split)) if by_column else by_file.get(each.table.path),
                time=time,
                fault=lost or wrong,
            )


def _packed(table: List, data: "ListedData", target: TargetKind) -> _Packed | None:
    import pyarrow.parquet as pq

    from sluiceway.usecases.targets.listing import COLUMNS

    schema = pq.read_schema(table.path)
    keys = {name: key for name in schema.names if (key := _key(schema, name))}
    if data.path is not None:
        keys = {name: key for name, key in keys.items() if name == data.path}
    if not keys:
        return None
    if len(keys) > 1:
        raise UnknownLayout(
            f"{table.path} has contents in the columns {', '.join(keys)}",
            hint="data.path names the one that is learned from",
        )
    ((column, key),) = keys.items()
    label = column_of(table, data.label, COLUMNS[target], "data.label")
    if label is None:
        others = [name for name in table.columns if name != column]
        raise UnknownLayout(
            f"{table.path} has contents in the column {column}, and no column {' or '.join(COLUMNS[target][:2])}: "
            f"found {', '.join(others) or 'no other'}",
            hint=f"{nearest(COLUMNS[target][0], others)}; data.label names the one that holds the target",
        )
    path = f"{column}.{_PATH}" if key != column and schema.field(column).type.get_field_index(_PATH) >= 0 else None
    return _Packed(table, key, path, label, Roles.of(table, data, (column, label)), class_names(schema, label))


def _key(schema: "pa.Schema", name: str) -> str | None:
    """Return where the bytes of a column of contents are; None where it is none."""
    import pyarrow as pa

    kind = schema.field(name).type
    if _is_bytes(kind):
        return name
    if pa.types.is_struct(kind) and (place := kind.get_field_index(_BYTES)) >= 0 and _is_bytes(kind.field(place).type):
        return f"{name}.{_BYTES}"
    return None


def _is_bytes(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def class_names(schema: "pa.Schema", label: str) -> Sequence[str]:
    """Return the names that Hugging Face's ``ClassLabel`` keeps in the file, by their numbers."""
    try:
        document: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = document["info"]["features"][label]
        names = feature.get("names") or feature.get("feature", {}).get("names") or []
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return [str(name) for name in names]


def named_target(record: Record, label: str, classes: Sequence[str], kind: TargetKind) -> str | None:
    """Return what is to be learned of a record, by the names of classes where the file has them.

    Args:
        record: of a list.
        label: column of the target.
        classes: names of the classes whose numbers the column holds; empty where it says what it means.
        kind: what is learned.
    """
    value = record.values.get(label)
    names = [_named(each, classes) for each in (value if isinstance(value, list) else [value])]
    if kind == "classes" and isinstance(value, list):
        return json.dumps(names, ensure_ascii=False)
    return record.text(label) if not classes or names[0] is None else names[0]


def _named(value: object, classes: Sequence[str]) -> str | None:
    if isinstance(value, int) and 0 <= value < len(classes):
        return classes[value]
    return None if value is None else str(value)
