"""Pictures whose class is known, from class folders or a packed set."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import DataError
from alexnet_tk.inference.pictures import Picture
from alexnet_tk.layout import ClassFolders, Splits, is_packed

if TYPE_CHECKING:
    from alexnet_tk.training.packed import PackedSplit


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures in the order of their classes, with a name for each class."""

    source: Path
    pictures: Sequence[Picture]
    targets: NDArray[np.int64]  # (N,), the class of each picture as an index into `labels`
    labels: list[str]  # the names of the class folders: a model's labels or its ids
    label_ids: list[str]  # a packed ImageNet's; else empty
    path: Callable[[int], str]  # of the picture at an index, or words that identify it
    ignored: Counter[str] = field(default_factory=Counter)  # other files and folders, by kind
    notes: list[str] = field(default_factory=list)  # what a user should know about how it was found


def open_labelled(data: Path, *, classes_are_folders: bool = False) -> LabelledPictures:
    """The pictures in class folders, those of `data/val` where there are splits, or a packed validation set.

    Raises
    ------
    DataError
        no such folder, no class folders, no pictures, no validation split, a broken packed set

    """
    if is_packed(data):
        return _open_packed(data)
    splits = Splits.of(data, classes_are_folders=classes_are_folders)
    folders = ClassFolders.read(splits.evaluated, classes_are_folders=classes_are_folders, tree=splits.tree)
    paths = folders.paths
    if not folders.names:
        raise DataError(
            f"{folders.root} holds no class folders{folders.instead}; "
            "DATA holds a folder of pictures for each class"
        )
    if not paths:
        raise DataError(
            f"{folders.root} holds no pictures in its class folders: {folders.total.instead_of_pictures()}"
        )
    targets = np.array(folders.targets, dtype=np.int64)
    return LabelledPictures(
        folders.root,
        paths,
        targets,
        folders.names,
        [],
        paths.__getitem__,
        folders.ignored,
        [*splits.notes(), *folders.notes()],
    )


def _open_packed(folder: Path) -> LabelledPictures:
    from alexnet_tk.training.packed import PackedSplit, open_packed

    data, _ = open_packed(folder)
    assert isinstance(data.val, PackedSplit)
    pictures = _PackedPictures(data.val)
    return LabelledPictures(folder, pictures, data.val.targets, data.labels, data.label_ids, data.val.name)


class _PackedPictures(Sequence[Picture]):
    """The pictures of a packed split, read from the disk when they are indexed."""

    def __init__(self, split: "PackedSplit") -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split.rows)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Picture]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._split.picture(index)
