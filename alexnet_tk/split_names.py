"""Which folder names are those of splits: train, Validation, test_set, fold 2."""

import re
from collections.abc import Sequence
from typing import Literal

SplitName = Literal["train", "val", "test"]
_SPLITS: dict[SplitName, str] = {
    "train": "train|training",
    "val": "val|valid|validation|dev",
    "test": "test|testing|eval|evaluation",
}
# Words that stand in the names of splits; where they stand in all names, no name is a class's.
_SPLIT_WORD = re.compile(
    r"(?<![a-z])(train(ing|val)?|trn|val(id(ation|ate)?)?|dev|test(ing)?|eval(uation)?|holdout"
    r"|(fold|split)(?=[ _.-]*\d))(?![a-z])",
    re.IGNORECASE,
)
_AFTER_SPLIT = r"([ _.-]?(set|data|dataset|split|images|imgs|pictures|photos))?([ _.-]?(19|20)\d\d)?"


def split_of(name: str) -> SplitName | None:
    """The split that a folder of this name is, in any case, as are Training, val2017 and test_set."""
    for split, words in _SPLITS.items():
        if re.fullmatch(f"({words}){_AFTER_SPLIT}", name.strip(), re.IGNORECASE):
            return split
    return None


def has_only_split_words(names: Sequence[str]) -> bool:
    """Whether every name, of at least one, holds a word of splits, as do train_1, cv-fold2 and holdout."""
    return bool(names) and all(map(_SPLIT_WORD.search, names))
