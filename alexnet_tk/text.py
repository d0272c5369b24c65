"""Formatting for messages: safe characters, counts with their noun, one line."""

import os
from collections.abc import Mapping

KINDS = 12  # that a message lists


def printable(text: str) -> str:
    r"""The text with every non-printable character escaped, so that no file name can control a terminal.

    A line break becomes \n, so the result is one line.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def as_utf8(path: str) -> str:
    """A path as UTF-8 text, in any locale: Python reads it as the locale's."""
    if path.isascii():
        return path
    try:
        return os.fsencode(path).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no name of a file, but a text that the locale does not have, such as a URL
        return path


def counted(number: int, noun: str) -> str:
    """A number with its noun, as in "1 picture" and "2,000 pictures"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(error: BaseException) -> str:
    """An error's message in one line: the system's reason, else the first line, else the type's name."""
    reason = getattr(error, "strerror", None) or str(error)
    lines = str(reason).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def shortened(items: list[str], limit: int) -> str:
    """The first `limit` items, separated by commas, with an ellipsis if there are more."""
    return f"{', '.join(items[:limit])}{', …' if len(items) > limit else ''}"


def by_kind(counts: Mapping[str, int]) -> str:
    """The kinds with their numbers, as in "2 × .txt, 1 × no ending", the most frequent first."""
    kinds = sorted(counts.items(), key=lambda each: -each[1])
    if len(kinds) > KINDS:  # all are counted, so that the account balances
        rest = kinds[KINDS - 1 :]
        kinds[KINDS - 1 :] = [(f"{len(rest)} other kinds", sum(number for _, number in rest))]
    return printable(", ".join(f"{number:,} × {kind}" for kind, number in kinds))
