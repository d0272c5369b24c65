"""Whether `similar --duplicates` finds planted duplicates, and what a search costs.

    python benchmarks/similar.py duplicates FOLDER [--model FEATURES.ONNX] [--pictures 1000]
    python benchmarks/similar.py search [--rows 1000000] [--units 4096] [--queries 10] [--folder FOLDER]

The first copies photographs and plants another quality, size, crop or mirror image of each beside it.
Printed is, for several distances, how many of the planted pairs are in one group, by kind, and how many pairs
of other pictures are. FOLDER may hold such pairs itself: some are named. Without a model the network is
untrained, and its figures say nothing of a trained one.

The second writes random rows in float16, 8 GB for a million of 4,096, as .npy and as .parquet, and searches
them in processes of their own, in turn with plainly reading the file. Printed are the medians of the seconds,
the peak memory of a search, and its rate relative to the reading. Before each the file is dropped from the
page cache.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageOps

from alexnet_tk import duplicates, features
from alexnet_tk.inference import Record, find
from alexnet_tk.machine import peak_memory
from alexnet_tk.prediction.feature_formats import choose_feature_format
from alexnet_tk.similarity.nearest import nearest
from alexnet_tk.similarity.vectors import open_vectors

sys.path.insert(0, str(Path(__file__).parent.parent))

DISTANCES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
NAMED = 5  # false pairs
ROUNDS = 3  # of reading and searching


def encoded(picture: Image.Image, quality: int) -> bytes:
    """A JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def cropped(picture: Image.Image) -> Image.Image:
    """Nine tenths of each side, off the middle."""
    width, height = picture.size
    return picture.crop((0, 0, width * 9 // 10, height * 9 // 10))


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "quality 30": lambda picture: encoded(picture, 30),
    "half the size": lambda picture: encoded(ImageOps.scale(picture, 0.5), 90),
    "crop of 90 %": lambda picture: encoded(cropped(picture), 90),
    "mirror image": lambda picture: encoded(ImageOps.mirror(picture), 90),
}


def plant(photographs: list[str], folder: Path) -> None:
    """Write each photograph to train/ and, under the same name, its duplicate to val/."""
    for split in ("train", "val"):
        (folder / split).mkdir()
    for number, path in enumerate(photographs):
        kind = list(KINDS)[number % len(KINDS)]
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        (folder / "train" / f"{number}.jpg").write_bytes(encoded(rgb, 95))
        (folder / "val" / f"{number}.jpg").write_bytes(KINDS[kind](rgb))


def measure_duplicates(folder: Path, model: Path | None, count: int) -> None:
    """Plant, find, print."""
    from alexnet_tk.exporting import export  # not above: it brings torch, whose memory is no search's
    from benchmarks.predict import untrained

    photographs = find([folder]).paths
    photographs = photographs[:: max(1, len(photographs) // count)][:count]
    kinds = list(KINDS)
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        if model is None:
            model = temporary / "features.onnx"
            untrained(temporary / "untrained.pt")
            export(temporary / "untrained.pt", model, verify_on=folder, features=True)
        plant(photographs, temporary)
        file = temporary / "f.npy"
        features([temporary / "train", temporary / "val"], output=file, model=model)
        planted = Counter(kinds[number % len(kinds)] for number in range(len(photographs)))
        print(f"{len(photographs):,} photographs and a duplicate of each, found of each kind:")
        print(f"{'distance':9}", *(f"{kind:>14}" for kind in kinds), f"{'false pairs':>14}")
        named: list[str] = []
        for distance in DISTANCES:
            found, wrong = Counter[str](), 0
            for group in duplicates(file, distance):
                numbers = [int(Path(each.path).stem) for each in group.pictures]
                of = Counter(numbers)
                found.update(kinds[number % len(kinds)] for number, times in of.items() if times == 2)
                wrong += len(numbers) * (len(numbers) - 1) // 2 - sum(times == 2 for times in of.values())
                for one, other in combinations(of, 2) if len(named) < NAMED else ():
                    named.append(f"{distance:g}: {photographs[one]}  {photographs[other]}")
            shares = (f"{found[kind] / planted[kind] if planted[kind] else 0:14.1%}" for kind in kinds)
            print(f"{distance:<9g}", *shares, f"{wrong:14,}")
    print("false pairs to look at, with the distance:", *named[:NAMED], sep="\n  ")


def random_records(rows: int, units: int) -> Iterator[Record]:
    """As of a network: no number is below zero."""
    random = np.random.default_rng(0)
    for first in range(0, rows, 1024):
        values = random.standard_normal((min(1024, rows - first), units), dtype=np.float32)
        for row, value in enumerate(np.maximum(values, 0).astype(np.float16), first):
            yield Record(f"{row}.png", features=value)


def forget(file: Path) -> None:
    """Drop the file from the page cache, where the system can."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_plainly(file: Path) -> float:
    """The seconds of reading the file from beginning to end."""
    buffer = bytearray(2**24)
    begun = time.perf_counter()
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass
    return time.perf_counter() - begun


def search_once(file: Path, queries: int) -> None:
    """Search; print the seconds and the peak of memory, bytes."""
    vectors = open_vectors(file)
    values = np.abs(np.random.default_rng(1).standard_normal((queries, vectors.units), dtype=np.float32))
    begun = time.perf_counter()
    nearest(values, vectors, 6, "euclidean", lambda rows: None)
    print(time.perf_counter() - begun, peak_memory() or 0)


def measure_search(rows: int, units: int, queries: int, folder: Path | None) -> None:
    """Write, search, print."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for ending in (".npy", ".parquet"):
            file = Path(name) / f"f{ending}"
            format = choose_feature_format(file, "float16").with_units(units)
            format.complete(random_records(rows, units), file, 0)
            words = [sys.executable, __file__, "once", str(file), "--queries", str(queries)]
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # as the command sets it
            readings, searches, peaks = list[float](), list[float](), list[float]()
            for _ in range(ROUNDS):  # in turn: what is below the system may keep a file, too
                forget(file)
                readings.append(read_plainly(file))
                forget(file)
                done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
                one, memory = map(float, done.stdout.split())
                searches.append(one)
                peaks.append(memory)
            plainly, seconds, peak = median(readings), median(searches), max(peaks)
            size = file.stat().st_size
            print(f"{ending}: {rows:,} rows of {units:,} in float16, {size / 1e9:.1f} GB, {queries} queries")
            print(
                f"  search         {seconds:7.2f} s  {size / 1e9 / seconds:6.2f} GB/s  {peak / 1e6:6.0f} MB"
            )
            print(f"  plain reading  {plainly:7.2f} s  {size / 1e9 / plainly:6.2f} GB/s")
            shares = [a / b for a, b in zip(readings, searches, strict=True)]
            print(f"  the search goes at {median(shares):.0%} of the reading", end="")
            print(f" ({min(shares):.0%} to {max(shares):.0%} in {ROUNDS} rounds)")
            file.unlink()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    planted = commands.add_parser("duplicates")
    planted.add_argument("folder", type=Path, metavar="FOLDER", help="some hundred photographs or more")
    planted.add_argument("--model", type=Path, help="what `alexnet-tk export --features` wrote")
    planted.add_argument("--pictures", type=int, default=1000)
    search = commands.add_parser("search")
    search.add_argument("--rows", type=int, default=1_000_000)
    search.add_argument("--units", type=int, default=4096)
    search.add_argument("--queries", type=int, default=10)
    search.add_argument("--folder", type=Path, help="on the disk to measure; else that of temporary files")
    once = commands.add_parser("once")
    once.add_argument("file", type=Path)
    once.add_argument("--queries", type=int, default=10)
    given = parser.parse_args()
    if given.command == "duplicates":
        measure_duplicates(given.folder, given.model, given.pictures)
    elif given.command == "search":
        measure_search(given.rows, given.units, given.queries, given.folder)
    else:
        search_once(given.file, given.queries)


if __name__ == "__main__":
    main()
