"""Records as Parquet, with pyarrow."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alexnet_tk.choices import FeatureType
from alexnet_tk.inference.record import Record, as_text
from alexnet_tk.prediction.feature_formats import numbers

ROWS = 10_000  # in memory at a time, and in a group of the file
FEATURE_ROWS = 1_024  # the same for features: 16 MB of the full network's


def schema(topk: int, unknown: bool = False) -> pa.Schema:
    """The columns of a record; `path_bytes` is the file's name as it is, `path` what of it is Unicode.

    With `unknown` there is a column for that.
    """
    columns = [
        ("path", pa.string()),
        ("path_bytes", pa.binary()),
        ("status", pa.string()),
        ("error", pa.string()),
    ]
    if unknown:
        columns.append(("unknown", pa.bool_()))
    for rank in range(1, topk + 1):
        columns += [(f"label_{rank}", pa.string()), (f"probability_{rank}", pa.float64())]
    return pa.schema(columns)


def write(records: Iterable[Record], file: Path | IO[bytes], topk: int, unknown: bool = False) -> None:
    """Write the records, a few thousand of them in memory; the same records give the same bytes."""
    columns, rows = schema(topk, unknown), (_row(each.row(topk)) for each in records)
    with pq.ParquetWriter(file, columns) as writer:
        while group := list(islice(rows, ROWS)):
            writer.write(_table(group, columns))


def write_features(records: Iterable[Record], file: Path | IO[bytes], dtype: FeatureType, units: int) -> None:
    """Write records without labels, and their features: lists of `units` numbers, null where there are none.

    The numbers are stored as they are: compressed, or as places in a dictionary, they are read half as fast.
    """
    number = pa.field("element", pa.from_numpy_dtype(dtype), nullable=False)
    features, columns = pa.field("features", pa.list_(number, units)), schema(0)
    writer = pq.ParquetWriter(
        file,
        columns.append(features),
        use_dictionary=columns.names,
        write_statistics=columns.names,
        compression=dict.fromkeys(columns.names, "snappy") | {"features.list.element": "none"},
        data_page_version="2.0",
    )
    waiting = iter(records)
    with writer:
        while group := list(islice(waiting, FEATURE_ROWS)):
            table = _table([_row(each.row(0)) for each in group], columns)
            writer.write(table.append_column(features, _features(group, dtype, features.type)))


# pa.array imports pandas where that is installed, which takes longer than to write the answers for some
# thousand pictures. So columns are put together from buffers, laid out as Arrow's columnar format says.


def _table(rows: Sequence[dict[str, Any]], columns: pa.Schema) -> pa.Table:
    """The rows, None where there is no value."""
    arrays = [_column([row[each.name] for row in rows], each.type) for each in columns]
    return pa.Table.from_arrays(arrays, schema=columns)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Text, bytes, truth values or float64."""
    there = _bits([each is not None for each in values])
    if kind == pa.bool_():
        buffers = [there, _bits(values)]
    elif kind == pa.float64():
        buffers = [there, pa.py_buffer(np.array([each or 0 for each in values], np.float64))]
    else:
        texts = [each.encode() if isinstance(each, str) else each or b"" for each in values]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        buffers = [there, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _features(records: Sequence[Record], dtype: FeatureType, kind: pa.DataType) -> pa.Array:
    """The column of these records; `kind` is the type of the lists."""
    values = np.zeros((len(records), kind.list_size), dtype)
    for row, record in zip(values, records, strict=True):
        if record.features is not None:
            row[:] = numbers(record, dtype)
    there = _bits([record.features is not None for record in records])
    elements = pa.Array.from_buffers(kind.value_type, values.size, [None, pa.py_buffer(values)])
    return pa.Array.from_buffers(kind, len(records), [there], children=[elements])


def _bits(values: Sequence[object]) -> pa.Buffer:
    """A bit for each, the first of them the lowest of a byte."""
    return pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little"))


def errors(output: Path | IO[bytes]) -> Iterator[str]:
    """The error of each record of a Parquet file, "" where it has none."""
    for batch in pq.ParquetFile(output).iter_batches(columns=["error"]):
        for error in batch.column(0).to_pylist():
            if not isinstance(error, str):
                raise TypeError("its column `error` is not text")
            yield error


def answered(output: Path) -> Iterator[str]:
    """The paths of the records of a Parquet file that have no error."""
    for batch in pq.ParquetFile(output).iter_batches(columns=["path_bytes", "error"]):
        for path, error in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if not error:
                yield os.fsdecode(path)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A record with its path as bytes, too, and text that is valid in Arrow."""
    cleaned = {name: as_text(value) if isinstance(value, str) else value for name, value in row.items()}
    return cleaned | {"path_bytes": row["path"].encode("utf-8", "surrogateescape")}
