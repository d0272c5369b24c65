"""Records as Parquet, with pyarrow."""

import io
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from alexnet_tk.inference.record import Record, as_text

ROWS = 10_000  # in memory at a time, and in a group of the file


def schema(topk: int) -> pa.Schema:
    """The columns of a record; `path_bytes` is the file's name as it is, `path` what of it is Unicode."""
    columns = [
        ("path", pa.string()),
        ("path_bytes", pa.binary()),
        ("status", pa.string()),
        ("error", pa.string()),
    ]
    for rank in range(1, topk + 1):
        columns += [(f"label_{rank}", pa.string()), (f"probability_{rank}", pa.float64())]
    return pa.schema(columns)


def write(records: Iterable[Record], file: Path | IO[bytes], topk: int) -> None:
    """Write the records, a few thousand of them in memory; the same records give the same bytes."""
    columns, rows = schema(topk), (_row(each.row(topk)) for each in records)
    with pq.ParquetWriter(file, columns) as writer:
        while group := list(islice(rows, ROWS)):
            writer.write_table(pa.Table.from_pylist(group, columns))


def encode(records: Iterable[Record], topk: int) -> bytes:
    """A Parquet file of these records."""
    file = io.BytesIO()
    write(records, file, topk)
    return file.getvalue()


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
