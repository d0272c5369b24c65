"""The vectors of a file that `features` wrote, read in blocks from its beginning to its end.

They are read and not mapped: pages that are mapped count as the process's memory.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import InputError
from alexnet_tk.machine import usable_cores
from alexnet_tk.parallel_map import parallel_map

BLOCK = 2**22  # bytes of float32 that are in memory at a time, in each thread
MOST_ROWS = 4096  # of a block
PIECE = 2**17  # numbers that are converted at a time, which fit into a core's cache
THREADS = 4  # beyond which a disk is no faster, and memory grows

DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError)  # what reading a damaged file raises

Rows = NDArray[np.int64]
Values = NDArray[np.float32]
Result = TypeVar("Result")


class Vectors(ABC):
    """Vectors (rows, units) of a file; a picture that failed may have a row, which has no vector."""

    path: Path
    units: int
    rows: int
    starts: Sequence[int]  # the first row of each block

    @abstractmethod
    def read(self, block: int) -> tuple[Rows, Values]:
        """The rows of a block that have a vector, int64 (N,), and these, float32 (N, units)."""

    @abstractmethod
    def read_paths(self, rows: Collection[int]) -> dict[int, str]:
        """The paths of pictures by their rows."""

    def paths(self, rows: Collection[int]) -> dict[int, str]:
        """As `read_paths`; raises `InputError` where the file is damaged or has changed."""
        try:
            return self.read_paths(rows)
        except DAMAGE as error:
            raise _unusable(self.path, error) from error

    def block(self, number: int) -> tuple[Rows, Values]:
        """As `read`, with numbers that can be computed with.

        Raises
        ------
        InputError
            the file is damaged or has changed, or holds NaN or infinite numbers

        """
        try:
            rows, values = self.read(number)
        except DAMAGE as error:
            raise _unusable(self.path, error) from error
        finite = np.isfinite(np.einsum("ij,ij->i", values, values))
        if not finite.all():
            raise InputError(
                f"{self.path}: row {rows[~finite][0]:,} holds NaN, infinite or too large numbers; write it "
                "again with `alexnet-tk features --overwrite`"
            )
        return rows, values

    def map(self, function: Callable[[Rows, Values], Result], first: int = 0) -> Generator[Result]:
        """The function's results for the blocks from `first` on, in order; it is called in threads.

        Raises what `block` raises.
        """
        threads = min(THREADS, usable_cores())
        return parallel_map(lambda each: function(*self.block(each)), range(first, len(self.starts)), threads)

    def blocks(self, first: int = 0) -> Generator[tuple[Rows, Values]]:
        """The blocks from `first` on, in order; some are read ahead."""
        return self.map(lambda rows, values: (rows, values), first)


class NpyVectors(Vectors):
    """An array F.npy, whose rows are the lines without an error of F.npy.jsonl."""

    def __init__(self, path: Path) -> None:
        self.path = path
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.ndim != 2 or array.dtype.kind != "f" or not array.flags.c_contiguous or not array.shape[1]:
            raise ValueError(f"an array of {array.dtype} {array.shape}")
        self.rows, self.units = array.shape
        self._dtype, self._offset = array.dtype, array.offset
        self._lines = path.with_name(f"{path.name}.jsonl")
        if not self._lines.is_file():
            raise ValueError(f"{self._lines.name} is not beside it")
        self._step = min(MOST_ROWS, max(1, BLOCK // (4 * self.units)))
        self.starts = range(0, self.rows, self._step)

    def read(self, block: int) -> tuple[Rows, Values]:
        """Read so many bytes at their place."""
        begin = self.starts[block]
        end = min(self.rows, begin + self._step)
        place = self._offset + begin * self.units * self._dtype.itemsize
        values = np.fromfile(self.path, self._dtype, (end - begin) * self.units, offset=place)
        return np.arange(begin, end), to_float32(values.reshape(end - begin, self.units))

    def read_paths(self, rows: Collection[int]) -> dict[int, str]:
        """Read the lines as far as the last of the rows."""
        wanted, found, row = set(rows), dict[int, str](), 0
        with self._lines.open("rb") as lines:
            for line in lines:
                if len(found) == len(wanted):
                    break
                picture = json.loads(line)
                if picture["error"]:
                    continue
                if row in wanted:
                    found[row] = picture["path"]
                row += 1
        if len(found) < len(wanted):
            raise ValueError(f"{self._lines.name} has fewer pictures than it has rows")
        return found


class ParquetVectors(Vectors):
    """F.parquet, or Ray's folder of such files: a row for each picture, a block for each group of rows."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        self._groups = list[tuple[Path, Any, int]]()
        starts, kinds, row = list[int](), set[Any](), 0
        for file in files:
            opened = pq.ParquetFile(file)
            kinds.add(opened.schema_arrow.field("features").type)
            for group in range(opened.metadata.num_row_groups):
                self._groups.append((file, opened.metadata, group))
                starts.append(row)
                row += opened.metadata.row_group(group).num_rows
        if len(kinds) != 1:
            raise ValueError("its files hold features of several sizes" if kinds else "an empty folder")
        self.units = kinds.pop().list_size
        self.starts, self.rows = starts, row

    def read(self, block: int) -> tuple[Rows, Values]:
        """Read a group's features; by DLPack, since `to_numpy` imports pandas where that is installed."""
        import pyarrow.compute as pc

        column = self._read(block, "features")
        there = np.from_dlpack(pc.indices_nonzero(column.is_valid())).astype(np.int64)
        values = np.from_dlpack(column.flatten()).reshape(-1, self.units)
        return self.starts[block] + there, to_float32(values)

    def read_paths(self, rows: Collection[int]) -> dict[int, str]:
        """Read the names in the groups that hold the rows."""
        wanted = np.array(sorted(rows), np.int64)
        blocks = np.searchsorted(self.starts, wanted, side="right") - 1
        found = {}
        for block in np.unique(blocks).tolist():
            names = self._read(block, "path_bytes")
            for row in wanted[blocks == block].tolist():
                found[row] = os.fsdecode(names[row - self.starts[block]].as_py())
        return found

    def _read(self, block: int, column: str) -> Any:
        """A column of a group; a reader of its own for each, since several threads can't share one."""
        import pyarrow.parquet as pq

        file, metadata, group = self._groups[block]
        with pq.ParquetFile(file, metadata=metadata) as opened:
            table = opened.read_row_group(group, columns=[column], use_threads=False)
        return table[column].combine_chunks()


def open_vectors(path: Path) -> Vectors:
    """The vectors of F.parquet, of a folder of such files or of F.npy; raises `InputError`."""
    if not path.exists():
        raise InputError(f"--among {path} does not exist; `alexnet-tk features` writes such a file")
    kind = NpyVectors if path.suffix.lower() == ".npy" else ParquetVectors
    try:
        vectors = kind(path)
    except DAMAGE as error:
        raise _unusable(path, error) from error
    return vectors


def to_float32(values: NDArray[Any]) -> Values:
    """The same numbers; numpy converts float16 one by one, and these steps are many at a time."""
    if values.dtype != np.float16 or not values.flags.c_contiguous:
        return values.astype(np.float32, copy=False)
    bits = np.empty(values.size, np.int32)
    numbers, halves = bits.view(np.float32), values.reshape(-1).view(np.int16)
    for i in range(0, values.size, PIECE):
        some = slice(i, i + PIECE)
        bits[some] = halves[some]
        bits[some] <<= 13  # exponent and fraction are at their places, the sign is in the four bits above
        bits[some] &= ~0x70000000
        numbers[some] *= np.float32(2.0**112)  # the exponents' biases are 15 and 127
    if numbers.max(initial=0) >= 2**16 or numbers.min(initial=0) <= -(2**16):  # infinite or NaN
        return values.astype(np.float32)
    return numbers.reshape(values.shape)


def _unusable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path} can't be read as features: {reason}; `alexnet-tk features` writes such a file")
