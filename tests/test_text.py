"""Text for messages: safe, counted, on one line."""

import errno
import os
import subprocess
import sys

import pytest

from alexnet_tk.errors import DataError
from alexnet_tk.text import as_utf8, by_kind, counted, one_line, printable, shortened


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


def test_kinds_that_are_not_named_are_counted() -> None:
    few, many = ({f".{number}": 20 - number for number in range(count)} for count in (12, 15))
    assert by_kind(few) == ", ".join(f"{20 - number} × .{number}" for number in range(12))
    assert by_kind(many).endswith(f"10 × .10, {9 + 8 + 7 + 6} × 4 other kinds")
    numbers = [int(part.split(" × ")[0]) for part in by_kind(many).split(", ")]
    assert sum(numbers) == sum(many.values())


def test_a_path_is_the_same_text_in_any_locale() -> None:
    code = "import sys; from alexnet_tk.text import as_utf8; print(ascii(as_utf8(sys.argv[1])))"
    for name in (b"caf\xc3\xa9", b"caf\xe9", b"plain"):
        shown = {
            subprocess.run(
                [sys.executable, "-c", code, name], env=os.environ | env, check=True, capture_output=True
            ).stdout
            for env in ({"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"})
        }
        expected = ascii(name.decode("utf-8", "surrogateescape"))
        assert shown == {f"{expected}\n".encode()}


def test_a_text_that_no_file_system_has_is_left_alone() -> None:
    assert as_utf8("s3://\ud800") == "s3://\ud800"
