"""Text for messages: safe, counted, on one line."""

import errno
import os

import pytest

from alexnet_tk.errors import DataError
from alexnet_tk.text import counted, one_line, printable, shortened


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("wrong"), "wrong"),
        (ValueError("  first\nsecond\nthird"), "first"),
        (ValueError("\n\nfirst\n"), "first"),
        (ValueError(), "ValueError"),
        (ValueError("  \n "), "ValueError"),
        (KeyError("name"), "'name'"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/path"), os.strerror(errno.ENOSPC)),
        (OSError("no number"), "no number"),
        (DataError("ours"), "ours"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_an_error_in_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("grün ☃ 1.png", "grün ☃ 1.png"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\udcff.png", r"\udcff.png"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
    ],
)
def test_nothing_that_is_printed_controls_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_a_number_with_its_noun() -> None:
    assert [counted(n, "picture") for n in (0, 1, 2, 2000)] == [
        "0 pictures",
        "1 picture",
        "2 pictures",
        "2,000 pictures",
    ]


def test_a_list_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert shortened(["a", "b"], 2) == "a, b"
    assert shortened(["a", "b", "c"], 2) == "a, b, …"
    assert shortened([], 2) == ""
