"""Pictures whose class is known, and the label of a model that each class is."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import DataError, ModelError
from alexnet_tk.inference.batch import Picture
from alexnet_tk.inference.classify import Classifier
from alexnet_tk.inference.sources import class_folders, find

if TYPE_CHECKING:
    from alexnet_tk.training.packed import Rows

PACKED = ("packed.json", "journal.jsonl")  # one of them is in a packed set, done or not


@dataclass(frozen=True)
class Labelled:
    """Pictures in the order of their classes, and a name for each class."""

    source: Path
    pictures: Sequence[Picture]
    classes: NDArray[np.int64]  # (N,) into `labels`
    labels: list[str]  # the names of folders are labels or ids
    label_ids: list[str]  # of a packed set of ImageNet; else none
    name: Callable[[int], str]  # of a picture, by its number
    ignored: Counter[str] = field(default_factory=Counter)  # other files, by their ending


def labelled(data: Path) -> Labelled:
    """The pictures of class folders, or the validation pictures of a packed set.

    `data/val/<class>` where there are `data/train` and `data/val` with class folders, else `data/<class>`.

    Raises
    ------
    DataError
        no such folder, no class folders, no pictures, a broken packed set

    """
    if not data.is_dir():
        raise DataError(f"{data} is not a folder; DATA holds a folder of pictures for each class")
    if any((data / name).is_file() for name in PACKED):
        return _packed(data)
    parted = all(class_folders(data / split) for split in ("train", "val"))
    root = data / "val" if parted else data
    names = class_folders(root)
    if not names:
        raise DataError(f"{root} holds no class folders; DATA holds a folder of pictures for each class")
    paths: list[str] = []
    classes: list[int] = []
    ignored: Counter[str] = Counter()
    for index, name in enumerate(names):
        found = find([root / name])
        paths += found.paths
        classes += [index] * len(found.paths)
        ignored += found.ignored
    if not paths:
        raise DataError(f"{root} holds no pictures in its class folders; endings such as .jpg and .png count")
    return Labelled(root, paths, np.array(classes), names, [], paths.__getitem__, ignored)


class _PackedPictures(Sequence[Picture]):
    """The rows of a packed split, which are read from the disk when they are looked at."""

    def __init__(self, rows: "Rows") -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows.rows)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Picture]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return np.asarray(self._rows.pictures[self._rows.rows[index]])


def _packed(folder: Path) -> Labelled:
    from alexnet_tk.training.packed import Rows, open_packed

    data, _ = open_packed(folder)
    assert isinstance(data.val, Rows)
    pictures = _PackedPictures(data.val)
    return Labelled(folder, pictures, data.val.classes, data.labels, data.label_ids, data.val.name)


def align(data: Labelled, classifier: Classifier, model: Path) -> NDArray[np.int64]:
    """For each class of the pictures the place of its label among the model's; by id where both have ids.

    Raises
    ------
    DataError
        a class is none of the model's labels, or is the name of several

    """
    labels, ids = classifier.labels, classifier.label_ids
    by_id = {each: place for place, each in enumerate(ids)}
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    wanted = data.label_ids if data.label_ids and ids else data.labels
    unknown = [name for name in wanted if name not in by_id and name not in places]
    if unknown:
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        raise DataError(
            f"{data.source} holds {', '.join(map(repr, unknown[:3]))}{more}, which {model} does not know; "
            f"rename or remove it. Its labels are {', '.join(labels[:5])}{', …' if len(labels) > 5 else ''}"
        )
    aligned = []
    for name in wanted:
        if name not in by_id and len(places[name]) > 1:
            raise DataError(
                f"{len(places[name])} classes of {model} have the label {name!r}; name the folders of "
                f"{data.source} by their ids"
            )
        aligned.append(by_id[name] if name in by_id else places[name][0])
    return np.array(aligned, dtype=np.int64)


def columns(first: Classifier, other: Classifier, path: Path) -> NDArray[np.int64]:
    """Where the other model has the classes of the first, to average their answers.

    Raises
    ------
    ModelError
        they do not have the same labels

    """
    if first.labels == other.labels:
        return np.arange(len(first.labels))
    both = bool(first.label_ids and other.label_ids)
    mine, others = ((each.label_ids if both else each.labels) for each in (first, other))
    if sorted(mine) != sorted(others) or len(set(mine)) < len(mine):
        stranger = next(iter(sorted(set(mine) ^ set(others))), None)
        told = f": {stranger!r} is a label of one of them" if stranger is not None else ""
        raise ModelError(
            f"{path} has other labels than the first model, so their answers can't be averaged{told}; "
            "evaluate them one by one"
        )
    places = {name: place for place, name in enumerate(others)}
    return np.array([places[name] for name in mine], dtype=np.int64)
