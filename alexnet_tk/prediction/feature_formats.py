"""The formats of features: a record for each picture, without labels, and the numbers of those answered."""

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.choices import FeatureType
from alexnet_tk.errors import OutputError, UsageError
from alexnet_tk.files import replacing
from alexnet_tk.inference.record import Record
from alexnet_tk.prediction.formats import JSON_LINES, Journal, Parquet, WholeFormat, Written


class FeatureRows(Journal):
    """A line of JSON for each picture and, where it was answered, the bytes of its features after it."""

    name, ending = "feature rows", ".rows"

    def __init__(self, dtype: FeatureType, units: int) -> None:
        self._dtype = dtype
        self._size = np.dtype(dtype).itemsize * units  # bytes

    def row(self, record: Record, topk: int) -> bytes:
        """The line and the bytes."""
        line = JSON_LINES.row(record, 0)
        return line if record.features is None else line + numbers(record, self._dtype).tobytes()

    def read(self, file: IO[bytes], topk: int) -> Iterator[Written]:
        """Whole lines whose bytes are all there."""
        size, end = file.seek(0, os.SEEK_END), 0
        file.seek(0)
        while (line := file.readline()).endswith(b"\n"):
            path, error = JSON_LINES.parse(line)
            end += len(line) if error else len(line) + self._size
            if end > size:
                return
            file.seek(end)
            yield Written(path, error, end)

    def records(self, file: IO[bytes], topk: int) -> Iterator[Record]:
        """The records, with their features in the type of the file."""
        for line in iter(file.readline, b""):
            path, error = JSON_LINES.parse(line)
            features = None if error else np.frombuffer(file.read(self._size), self._dtype)
            yield Record(path, error, features=features)


class FeatureFormat(WholeFormat):
    """A file of features; `units` is how many a picture has, which is known once the model is open."""

    def __init__(self, dtype: FeatureType, units: int = 0) -> None:
        self.dtype, self.units = dtype, units
        self.name = f"{self.ending.removeprefix('.')}, {dtype} features"

    def with_units(self, units: int) -> Self:
        """The same format for a model."""
        return type(self)(self.dtype, units)

    @property
    def journal(self) -> Journal:
        """Rows with the numbers in the type of the file."""
        return FeatureRows(self.dtype, self.units)


class ParquetFeatures(FeatureFormat, Parquet):
    """`predict`'s columns without the labels, and `features`: a list, null where the picture failed."""

    def write(self, records: Iterable[Record], file: Path | IO[bytes], topk: int) -> None:
        """Write the records in groups of some megabytes."""
        from alexnet_tk.prediction import parquet

        parquet.write_features(records, file, self.dtype, self.units)


class NpyFeatures(FeatureFormat):
    """An array of numpy's (rows, units), and beside it F.npy.jsonl with a line of JSON for each picture.

    The rows are those of the pictures without an error, in their order.
    """

    ending = ".npy"

    def files(self, output: Path) -> tuple[Path, ...]:
        """The array and the lines."""
        return output, _lines_of(output)

    def complete(self, records: Iterable[Record], output: Path, topk: int) -> None:
        """Write the array and the lines."""
        with replacing(_lines_of(output)) as part, part.open("wb") as lines:

            def noted() -> Iterator[Record]:
                for record in records:
                    lines.write(JSON_LINES.row(record, 0))
                    yield record

            super().complete(noted(), output, topk)

    def write(self, records: Iterable[Record], file: Path, topk: int) -> None:
        """Write the array; the number of its rows is put into the header at the end."""
        rows = 0
        with file.open("wb") as array:
            array.write(self._header(rows))
            for record in records:
                if record.features is not None:
                    array.write(numbers(record, self.dtype).tobytes())
                    rows += 1
            array.seek(0)
            array.write(self._header(rows))

    def errors(self, file: Path) -> Iterator[str]:
        """Read the lines; there must be a row for each without an error."""
        rows = 0
        with _lines_of(file).open("rb") as lines:
            for line in lines:
                _, error = JSON_LINES.parse(line)
                rows += not error
                yield error
        shape = np.lib.format.open_memmap(file, mode="r").shape
        if shape != (rows, self.units):
            raise ValueError(f"its shape is {shape}, where ({rows}, {self.units}) are listed")

    def _header(self, rows: int) -> bytes:
        """What stands before the rows; numpy leaves room for more of them, so that its size never changes."""
        header = io.BytesIO()
        described: dict[str, Any] = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(self.dtype)),
            "fortran_order": False,
            "shape": (rows, self.units),
        }
        np.lib.format.write_array_header_1_0(header, described)
        return header.getvalue()


def choose_feature_format(output: Path, dtype: FeatureType) -> FeatureFormat:
    """The format that the output's ending stands for; raises `UsageError`."""
    if dtype not in get_args(FeatureType):
        raise UsageError(f"dtype is {dtype!r}; it must be {' or '.join(get_args(FeatureType))}")
    for each in (ParquetFeatures, NpyFeatures):
        if output.suffix.lower() == each.ending:
            return each(dtype)
    raise UsageError(f"{output} ends in neither .parquet nor .npy; give --output F.parquet or F.npy")


def numbers(record: Record, dtype: FeatureType) -> NDArray[Any]:
    """The features of a picture that was answered, in the type of the file; raises `OutputError`."""
    assert record.features is not None, "it was answered"
    try:
        with np.errstate(over="raise"):
            return record.features.astype(dtype, copy=False)
    except FloatingPointError as error:
        raise OutputError(
            f"{record.path}: one of its features is {record.features.max():,.0f}, more than {dtype} can "
            "hold; give --dtype float32, and --overwrite"
        ) from error


def _lines_of(output: Path) -> Path:
    return output.with_name(f"{output.name}{JSON_LINES.ending}")
