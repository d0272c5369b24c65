"""A page of pictures beside those that are like them, as figure 4 of the 2012 paper: one file, no server."""

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

from alexnet_tk import images
from alexnet_tk.archives import is_archive
from alexnet_tk.errors import InputError, PictureError
from alexnet_tk.files import replacing
from alexnet_tk.inference import find
from alexnet_tk.inference.pictures import THUMBNAIL, open_picture, thumbnail
from alexnet_tk.inference.record import as_text
from alexnet_tk.machine import usable_cores
from alexnet_tk.parallel_map import parallel_map
from alexnet_tk.prediction.report import LARGEST_PAGE, embedded
from alexnet_tk.preprocess import Square

SQUARE = Square(THUMBNAIL, THUMBNAIL, "bilinear")

Members = Callable[[str], dict[str, str]]  # the pictures in an archive by their paths
Row = tuple[str, str, Sequence[tuple[str, float]]]  # picture, error, and the others with their distances


def write_page(path: Path, title: str, summary: str, rows: Sequence[Row]) -> None:
    """Draw a page with a line of pictures for each row; thumbnails are read from the pictures' paths.

    A picture that is not found is a blank with its path. Of more than `LARGEST_PAGE` pictures the first are
    shown, and the page says so. Raises `OutputError`.
    """
    template = (resources.files("alexnet_tk") / "data" / "similar.html").read_text(encoding="utf-8")
    head, rest = template.split("<!-- rows -->\n")
    middle, tail = rest.split("<!-- run -->")
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(head)
        begun, members = False, cache(_members)
        for drawn in parallel_map(lambda row: _drawn(row, members), _as_many_as_fit(rows), usable_cores()):
            file.write((",\n" if begun else "") + embedded(drawn))
            begun = True
        pictures = sum(1 + len(others) for _, _, others in rows)
        if pictures > LARGEST_PAGE:
            summary += f"; this page shows the first {LARGEST_PAGE:,} of {pictures:,} pictures"
        file.write(middle + embedded({"title": title, "summary": as_text(summary)}) + tail)


def _as_many_as_fit(rows: Sequence[Row]) -> Iterator[Row]:
    left = LARGEST_PAGE
    for path, error, others in rows:
        if left <= 0:
            return
        yield path, error, others[: left - 1]
        left -= 1 + len(others)


def _drawn(row: Row, members: Members) -> list[Any]:
    path, error, others = row
    near = [[as_text(each), float(f"{distance:.4g}"), _thumbnail(each, members)] for each, distance in others]
    return [as_text(path), error, _thumbnail(path, members), near]


def _thumbnail(path: str, members: Members) -> str:
    """A small JPEG in base64, "" where the picture can't be read."""
    try:
        return base64.b64encode(thumbnail(images.load(open_picture(_found(path, members)), SQUARE))).decode()
    except PictureError:
        return ""


def _found(path: str, members: Members) -> str:
    """The picture of that path, which may lead into an archive."""
    if type(path) is not str or os.path.lexists(path):  # else `find` has found it already
        return path
    for folder in map(str, PurePath(path).parents):
        if os.path.lexists(folder):
            return members(folder).get(path, path)
    return path


def _members(path: str) -> dict[str, str]:
    """The pictures in an archive by their paths."""
    try:
        return {str(each): each for each in find([path]).paths} if is_archive(path) else {}
    except InputError:
        return {}
