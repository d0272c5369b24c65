"""Conversion of tables, from TOML, checkpoints and ONNX files, to dataclasses with every value checked."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from alexnet_tk.errors import RecipeError

T = TypeVar("T")
LARGEST_INTEGER = 1_000_000  # seeds excepted; a typo should not allocate a terabyte
LARGEST_FLOAT = 1e300  # excludes infinity and NaN too


def require(holds: bool, key: str, value: object, rule: str) -> None:
    """Raise `RecipeError` unless the rule for a key's value holds."""
    if not holds:
        raise RecipeError(f"{key} is {value}; it must be {rule}")


def dotted_keys(cls: type, prefix: str = "") -> list[str]:
    """All dotted keys of a dataclass and the dataclasses in it, in the order of their fields."""
    keys: list[str] = []
    for name, hint in get_type_hints(cls).items():
        is_table = isinstance(hint, type) and is_dataclass(hint)
        keys += dotted_keys(hint, f"{prefix}{name}.") if is_table else [prefix + name]
    return keys


def current_key(cls: type, key: str) -> str:
    """The current name of a dotted key, which may be a name from an earlier version."""
    name, dot, rest = key.partition(".")
    name = _former_names(cls).get(name, name)
    hint = get_type_hints(cls).get(name)
    return f"{name}.{current_key(hint, rest)}" if dot and is_dataclass(hint) else f"{name}{dot}{rest}"  # type: ignore[arg-type]


def from_table(cls: type[T], table: object, prefix: str) -> T:
    """Convert a table to a dataclass; every value is checked against its field's type.

    A field with `formerly` in its metadata is also read under that name, which earlier versions wrote. Where
    more than a name has changed, the dataclass has a function `upgraded`, from a table to one of today's.
    `prefix` is what error messages put before a key, such as "network.".

    Raises
    ------
    RecipeError
        an unknown key, a value of the wrong type, a key under both of its names

    """
    if not isinstance(table, Mapping):
        raise RecipeError(
            f"{prefix.rstrip('.') or 'the recipe'} is {reprlib.repr(table)}; it must be a table"
        )
    if (upgraded := getattr(cls, "upgraded", None)) is not None:
        table = upgraded(table)
        assert isinstance(table, Mapping)
    hints, former = get_type_hints(cls), _former_names(cls)
    known = {each.name for each in fields(cls)}  # type: ignore[arg-type]
    values = {}
    for given, value in table.items():
        name = former.get(given, given)
        if name not in known:
            raise RecipeError(
                f"there is no recipe key {prefix + str(given)!r}; "
                f"the keys here are {', '.join(prefix + name for name in hints)}"
            )
        if name in values:
            old = next(old for old, new in former.items() if new == name)
            raise RecipeError(f"{prefix}{name} is given twice, also by its old name {prefix}{old}; keep one")
        values[name] = _check(value, hints[name], prefix + given)
    return cls(**values)


def upgraded_key(cls: type, path: Sequence[str], key: str, value: object) -> dict[str, dict[str, Any]]:
    """The tables that an earlier version's key, in the table at `path`, sets today; none for other keys."""
    for name in path:
        hint = get_type_hints(cls).get(name)
        if not isinstance(hint, type):
            return {}
        cls = hint
    upgraded = getattr(cls, "upgraded", None)
    tables: dict[str, Any] = {} if upgraded is None else upgraded({key: value})
    return {} if key in tables else tables


def _former_names(cls: type) -> dict[str, str]:
    """The current names of renamed fields, by their names in earlier versions."""
    return {each.metadata["formerly"]: each.name for each in fields(cls) if "formerly" in each.metadata}


def _check(value: object, hint: Any, key: str) -> Any:
    """Convert a value to the type of a hint; integers are accepted as floats, nothing else is converted."""
    if is_dataclass(hint):
        return from_table(hint, value, f"{key}.")  # type: ignore[arg-type]
    for choice in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        origin, parts = get_origin(choice), get_args(choice)
        if origin is Literal and value in parts and isinstance(value, str):
            return value
        if origin is tuple and isinstance(value, (list, tuple)):
            hints = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
            if len(hints) == len(value):
                return tuple(_check(item, part, key) for item, part in zip(value, hints, strict=True))
        if choice is float and type(value) in (int, float) and abs(value) < LARGEST_FLOAT:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
        if (
            choice is int
            and type(value) is int
            and abs(value) > LARGEST_INTEGER
            and not key.endswith(".seed")
        ):
            raise RecipeError(f"{key} is {value:,}; it must be at most {LARGEST_INTEGER:,}")
        if choice in (int, bool, str) and type(value) is choice:
            return value
    raise RecipeError(f"{key} is {reprlib.repr(value)}; it must be {_in_words(hint)}")


def _in_words(hint: Any) -> str:
    """A type hint as an error message puts it, such as "a list of integers"."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(part) for part in parts)
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if origin is tuple:
        length = "" if parts[-1] is Ellipsis else f"{len(parts)} "
        return f"a list of {length}{_in_words(parts[0]).removeprefix('a ').removeprefix('an ')}s"
    return {int: "an integer", float: "a finite number", bool: "true or false", str: "a string"}[hint]
