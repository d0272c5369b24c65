"""Answers as a Parquet file, made of a journal in JSON Lines when the last one is known.

A Parquet file can't be appended to: its table of contents stands at the end.
"""

import io
import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from alexnet_tk.files import replacing
from alexnet_tk.inference.results import Record, as_text

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


def convert(journal: Path, output: Path, topk: int) -> None:
    """Write a journal's records as Parquet; the same records give the same bytes.

    Raises
    ------
    OutputError
        the file can't be written; what stood there, and the journal, stay

    """
    columns = schema(topk)
    with replacing(output) as part, pq.ParquetWriter(part, columns) as writer:
        for rows in _parts(journal):
            writer.write_table(pa.Table.from_pylist(rows, columns))


def encode(records: Iterable[Record], topk: int) -> bytes:
    """A Parquet file of these records."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_row(each.row(topk)) for each in records], schema(topk)), file)
    return file.getvalue()


def errors(output: Path | IO[bytes]) -> Iterator[str]:
    """What stands as the error of each record of a Parquet file, "" where there is none."""
    for batch in pq.ParquetFile(output).iter_batches(columns=["error"]):
        yield from batch.column(0).to_pylist()


def _parts(journal: Path) -> Iterator[list[dict[str, Any]]]:
    with journal.open(encoding="utf-8") as lines:
        while part := [_row(json.loads(line)) for line in islice(lines, ROWS)]:
            yield part


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A record with its path as bytes, too, and without what is no text in Arrow."""
    told = {name: as_text(value) if isinstance(value, str) else value for name, value in row.items()}
    return told | {"path_bytes": os.fsencode(row["path"])}
