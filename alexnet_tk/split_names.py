"""Which folder names are those of splits: train, Validation, test_set, fold 2."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
# The same at the beginning of a part of a name, however that part is set off: seg_train, trainA, myTest.
_INNER_WORD = re.compile(
    r"((?<![A-Za-z])(?i:train(ing)?|trn|val(id(ation)?)?|dev|test(ing)?|eval(uation)?|holdout)"
    r"|(?<=[a-z])(Train(ing)?|Val(id(ation)?)?|Dev|Test(ing)?|Eval(uation)?))(?![a-z])"
)
_AFTER_SPLIT = r"([ _.-]?(set|data|dataset|split|images|imgs|pictures|photos))?([ _.-]?(19|20)\d\d)?"


def split_of(name: str) -> SplitName | None:
    """The split that a folder of this name is, in any case, as are Training, val2017 and test_set."""
    for split, words in _SPLITS.items():
        if re.fullmatch(f"({words}){_AFTER_SPLIT}", name.strip(), re.IGNORECASE):
            return split
    return None


def paired(names: Iterable[str]) -> list[str]:
    """The names that differ only in the word of a split, as do seg_train and seg_test, trainA and testA."""
    pairs = defaultdict(list)
    for name in names:
        if _INNER_WORD.search(name):
            pairs[_INNER_WORD.sub("*", name)].append(name)
    return sorted(name for pair in pairs.values() if len(pair) > 1 for name in pair)


def has_only_split_words(names: Sequence[str]) -> bool:
    """Whether every name, of at least one, holds a word of splits, as do train_1, cv-fold2 and holdout."""
    return bool(names) and all(map(_SPLIT_WORD.search, names))
