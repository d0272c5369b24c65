"""Which files are answered for, and in which order."""

import codecs
import glob
import io
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_tk.errors import InputError
from alexnet_tk.found import Unreadable
from alexnet_tk.inference import find
from alexnet_tk.inference.sources import read_list


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def below(folder: Path, paths: list[str]) -> list[str]:
    return [Path(path).relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_read_by_name_and_to_its_end(tmp_path: Path) -> None:
    """Files and folders stand together, each folder's files where its own name does."""
    make(
        tmp_path, "b.png", "a/2.png", "a/10.png", "a/z/0.png", "c/1.png", "B.png", "a.png", "é.png", "a b.png"
    )
    assert below(tmp_path, find([tmp_path]).paths) == [
        "B.png",
        "a/10.png",
        "a/2.png",
        "a/z/0.png",
        "a b.png",
        "a.png",
        "b.png",
        "c/1.png",
        "é.png",
    ]


def test_inputs_keep_their_order(tmp_path: Path) -> None:
    make(tmp_path, "b/1.png", "a/1.png", "c.png")
    inputs = [tmp_path / "c.png", tmp_path / "b", tmp_path / "a"]
    assert below(tmp_path, find(inputs).paths) == ["c.png", "b/1.png", "a/1.png"]


def test_text_and_paths_are_the_same(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    assert find([str(tmp_path)]) == find([tmp_path])


def test_an_input_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "images/a.png")
    monkeypatch.chdir(tmp_path)
    assert find(["images", "images/", "images/a.png"]).paths == ["images/a.png"] * 3


def test_hidden_files_and_folders_are_skipped_and_not_counted(tmp_path: Path) -> None:
    make(tmp_path, ".a.png", ".hidden/b.png", "c.png", "d/.e.png", ".f.txt")
    found = find([tmp_path])
    assert below(tmp_path, found.paths) == ["c.png"]
    assert not found.ignored


def test_what_is_hidden_and_named_counts(tmp_path: Path) -> None:
    make(tmp_path, ".hidden/b.png", ".a.png")
    inputs = [tmp_path / ".hidden", tmp_path / ".a.png"]
    assert below(tmp_path, find(inputs).paths) == [".hidden/b.png", ".a.png"]


def test_other_endings_are_counted_whatever_their_case(tmp_path: Path) -> None:
    make(
        tmp_path, "a.txt", "b.TXT", "d.x/README", "Makefile", "f.tar.gz", "g.JPG", "h.Jpeg", "i.PnG", "j.onnx"
    )
    found = find([tmp_path])
    assert below(tmp_path, found.paths) == ["g.JPG", "h.Jpeg", "i.PnG"]
    assert sum(found.ignored.values()) == 6
    assert found.ignored[".txt"] == 2
    assert found.ignored[".gz"] == 1
    assert found.ignored[".onnx"] == 1
    assert found.ignored.most_common(2)[1][1] == 2, "the two without an ending are one kind"


def test_ignored_files_of_several_folders_are_counted_together(tmp_path: Path) -> None:
    make(tmp_path, "a/1.txt", "b/2.txt", "b/3.csv")
    assert find([tmp_path / "a", tmp_path / "b"]).ignored == Counter({".txt": 2, ".csv": 1})


def test_a_file_that_is_named_counts_whatever_its_ending(tmp_path: Path) -> None:
    make(tmp_path, "picture", "notes.txt")
    found = find([tmp_path / "picture", tmp_path / "notes.txt"])
    assert below(tmp_path, found.paths) == ["picture", "notes.txt"]
    assert not found.ignored


def test_the_same_file_twice_is_listed_twice(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    inputs = [tmp_path / "a.png", tmp_path, tmp_path / "a.png"]
    assert below(tmp_path, find(inputs).paths) == ["a.png"] * 3


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    """A link to the folder above would otherwise never end."""
    make(tmp_path, "in/a.png", "out/b.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "out").symlink_to(tmp_path / "out", target_is_directory=True)
    assert below(tmp_path, find([tmp_path / "in"]).paths) == ["in/a.png"]


def test_a_link_to_a_folder_that_is_named_is_read(tmp_path: Path) -> None:
    make(tmp_path, "in/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    assert below(tmp_path, find([tmp_path / "link"]).paths) == ["link/a.png"]


def test_links_to_files_count_and_dangling_ones_are_not_lost(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/a.bin")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sound.png").symlink_to(tmp_path / "elsewhere" / "a.bin")
    (tmp_path / "in" / "dangling.png").symlink_to(tmp_path / "gone.png")
    assert below(tmp_path, find([tmp_path / "in"]).paths) == ["in/dangling.png", "in/sound.png"]
    assert below(tmp_path, find([tmp_path / "in" / "dangling.png"]).paths) == ["in/dangling.png"]


@pytest.mark.parametrize("name", ["gone", "gone.png", "gone/a.png", ""])
def test_an_input_that_does_not_exist_ends_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{name} does not exist") as caught:
        find(["a.png", name])
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_no_input_hold_nothing(tmp_path: Path) -> None:
    assert find([tmp_path]).paths == []
    assert find([]).paths == []


def test_names_that_are_not_utf8_name_the_file_they_stand_for(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/f\xfcr"
    try:
        os.mkdir(folder)  # noqa: PTH102  a name in bytes
        os.close(os.open(folder + b"/\xff\xfe.png", os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (path,) = find([tmp_path]).paths
    assert os.fsencode(path) == folder + b"/\xff\xfe.png"
    assert os.path.lexists(path)
    assert find([path]).paths == [path]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_can_not_be_read_is_listed(tmp_path: Path) -> None:
    """What it holds can't be known, so it is answered as failed: nothing vanishes."""
    make(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    (tmp_path / "b").chmod(0)
    try:
        assert below(tmp_path, find([tmp_path]).paths) == ["a/1.png", "b", "c/3.png"]
        assert below(tmp_path, find([tmp_path / "b"]).paths) == ["b"]
    finally:
        (tmp_path / "b").chmod(0o755)


@pytest.mark.skipif(os.mkdir not in os.supports_dir_fd, reason="makes folders relative to others")
def test_folders_may_be_nested_1500_deep(tmp_path: Path) -> None:
    depth = 1500
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("a.png", os.O_CREAT, dir_fd=at))
    os.close(at)
    deepest = f"{tmp_path}/" + "d/" * depth
    try:
        assert find([tmp_path]).paths == [deepest + "a.png"]
    finally:  # shutil.rmtree, with which pytest clears up, gives in at a thousand
        os.unlink(deepest + "a.png")  # noqa: PTH108  pathlib takes its time with such paths
        for level in range(depth, 0, -1):
            os.rmdir(f"{tmp_path}/" + "d/" * level)  # noqa: PTH106


def test_what_is_neither_file_nor_folder_is_ignored(tmp_path: Path) -> None:
    """Reading a pipe that nobody writes to would never end."""
    os.mkfifo(tmp_path / "a.png")
    found = find([tmp_path])
    assert found.paths == []
    assert found.ignored.total() == 1


def test_patterns_stand_for_what_fits_them(tmp_path: Path) -> None:
    make(tmp_path, "b.png", "a.png", "c.txt", "d/e.png", "[x].png")
    assert below(tmp_path, find([f"{tmp_path}/?.png"]).paths) == ["a.png", "b.png"]
    assert below(tmp_path, find([f"{tmp_path}/**/e.png"]).paths) == ["d/e.png"]
    assert below(tmp_path, find([f"{tmp_path}/[x].png"]).paths) == ["[x].png"], "a file of that name"
    assert below(tmp_path, find([f"{tmp_path}/*"]).paths) == ["[x].png", "a.png", "b.png", "c.txt", "d/e.png"]
    with pytest.raises(InputError, match="does not exist"):
        find([f"{tmp_path}/*.gif"])


def test_a_pattern_of_any_depth_names_every_picture_once(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "a/2.png", "a/b/3.png", "a/notes.txt")
    found = find([f"{tmp_path}/**"])
    assert below(tmp_path, found.paths) == ["1.png", "a/2.png", "a/b/3.png"]
    assert found.ignored == {".txt": 1}


def test_lists_come_last_and_may_name_what_is_gone(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "d/b.png")
    found = find([tmp_path / "a.png"], [f"{tmp_path}/gone.png", f"{tmp_path}/d", f"{tmp_path}/*.png"])
    assert below(tmp_path, found.paths) == ["a.png", "gone.png", "d/b.png", "*.png"]


@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name)))
def test_lists_survive_any_name(names: list[bytes]) -> None:
    separated = b"\0".join(names)
    if not separated.startswith(codecs.BOM_UTF8):  # which is a mark there, and no name
        assert read_list(io.BytesIO(separated), b"\0") == [os.fsdecode(name) for name in names]
    lines = [name for name in names if b"\n" not in name and not name.endswith(b"\r")]
    lines = [name for name in lines if not name.startswith(codecs.BOM_UTF8)]
    for end in (b"\n", b"\r\n"):
        assert read_list(io.BytesIO(end.join(lines) + end)) == [os.fsdecode(name) for name in lines]


def test_archives_in_a_list_that_can_not_be_read_fail_alone(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "b.png")
    for name in ("x.zip", "y.tar", "z.tar.xz"):
        (tmp_path / name).write_bytes(b"rubbish" * 300)
    names = ["a.png", "x.zip", "y.tar", "z.tar.xz", "b.png"]
    found = find([], [f"{tmp_path}/{name}" for name in names])
    assert below(tmp_path, found.paths) == names
    reasons = [each.reason for each in found.paths if isinstance(each, Unreadable)]
    starts = ["can't be read as an archive: ", "can't be read as an archive: ", "compressed as a whole: "]
    assert [reason.startswith(start) for reason, start in zip(reasons, starts, strict=True)] == [True] * 3


def test_a_folder_that_can_not_be_listed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    scandir = os.scandir

    def forbidden(path: str) -> Any:
        if path.endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    found = find([tmp_path]).paths
    assert below(tmp_path, found) == ["a/1.png", "b", "c/3.png"]
    assert isinstance(found[1], Unreadable)
    assert found[1].reason == "a folder that can't be listed: Permission denied"


def test_a_mark_of_the_order_of_bytes_is_no_part_of_a_name() -> None:
    assert read_list(io.BytesIO(b"\xef\xbb\xbfa.png\r\nb.png\r\n")) == ["a.png", "b.png"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lists_that_windows_writes(encoding: str) -> None:
    mark = "\ufeff" if encoding[-2:] in ("le", "be") else ""
    text = f"{mark}a.png\r\nphotos\\über 写真.png\r\n".encode(encoding)
    assert read_list(io.BytesIO(text)) == ["a.png", "photos\\über 写真.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a.png\0b.png\0", "--from F holds NUL bytes; give -0"),
        ("a.png\n".encode("utf-16-le"), "--from F holds NUL bytes; give -0"),
        ("a.png\n".encode("utf-16")[:-1], "--from F is broken UTF-16 text"),
    ],
)
def test_lists_of_lines_with_nul_are_refused(text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_list(io.BytesIO(text), name="--from F")


def test_brackets_in_names_are_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "holiday [2019]/1.png", "holiday [2019]/[b] 2.png", "holiday 2/3.png", "photo1.png")
    monkeypatch.chdir(tmp_path)
    assert find(["holiday [2019]/*.png"]).paths == ["holiday [2019]/1.png", "holiday [2019]/[b] 2.png"]
    assert find(["holiday [2019]/[b]*.png"]).paths == ["holiday [2019]/[b] 2.png"]
    assert find(["holi*/[b] 2.png"]).paths == ["holiday [2019]/[b] 2.png"]
    assert find(["**/[b] *.png"]).paths == ["holiday [2019]/[b] 2.png"]
    assert find(["photo[12]*.png"]).paths == ["photo1.png"], "beside a * brackets are a pattern"
    for missing in ("photo[1].png", "holiday [2]/3.png", "holiday [2]/*.png"):
        with pytest.raises(InputError, match="does not exist"):
            find([missing])


@pytest.mark.parametrize("name", ["a[1]", "x**", "what?", "*", "[*]", "**"])
def test_a_folder_that_exists_stands_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make(tmp_path, f"{name}/1.png", "a1/2.png", "x/3.png", "whats/4.png")
    monkeypatch.chdir(tmp_path)
    assert find([name]).paths == [f"{name}/1.png"]
    assert find([f"{name}/*.png"]).paths == [f"{name}/1.png"]


def test_a_pattern_of_any_depth_finds_what_its_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links are not followed, folders of systems and runs are left out; all of it is counted."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path, "d/1.png", "d/a-b/2.png", "d/a/3.png", "d/a/4.jpg", "d/@eaDir/5.png", "elsewhere/6.png")
    make(tmp_path, "d/runs/model/curves.png", "d/runs/model/last.pt", "d/runs/model/metrics.jsonl", "d/x.txt")
    (tmp_path / "d" / "a" / "loop").symlink_to("..")
    (tmp_path / "d" / "linked").symlink_to(tmp_path / "elsewhere")
    ignored = {"link to a folder": 2, "@eaDir folder": 1, "folder of a training run": 1}
    found = find(["d/**"])
    assert found.paths == ["d/1.png", "d/a-b/2.png", "d/a/3.png", "d/a/4.jpg"]
    assert found.ignored == ignored | {".txt": 1}
    for pattern, paths in (
        ("**/*.png", ["d/1.png", "d/a-b/2.png", "d/a/3.png", "elsewhere/6.png"]),
        ("d/**/*.png", ["d/1.png", "d/a-b/2.png", "d/a/3.png"]),
        ("?/**/a*/*", ["d/a-b/2.png", "d/a/3.png", "d/a/4.jpg"]),
        ("**/a/**", ["d/a/3.png", "d/a/4.jpg"]),
        ("d/**/[34].*", ["d/a/3.png", "d/a/4.jpg"]),
        ("**/**/3.png", ["d/a/3.png"]),
    ):
        assert find([pattern]).paths == paths, pattern
    assert find(["d/**/*.png"]).ignored == ignored
    with pytest.raises(InputError, match=r"d/\*\*/\*.tif does not exist"):
        find(["d/**/*.tif"])


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python's own patterns follow links otherwise")
@given(data=st.data())
def test_patterns_of_any_depth_fit_as_pythons_do(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    part = st.sampled_from(["a", "b", "ab", "a.png"])
    for path in data.draw(st.lists(st.lists(part, min_size=1, max_size=4), max_size=6)):
        file = root.joinpath(*path[:-1], "x.png" if path[-1] == "a.png" else f"{path[-1]}.png")
        with suppress(OSError):  # one is a folder and a file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    wild = st.sampled_from(["**", "*", "a*", "?", "*.png", "x.png", "a"])
    pattern = "/".join(["**", *data.draw(st.lists(wild, max_size=4))])
    fitting = glob.glob(f"{root}/{pattern}", recursive=True)  # noqa: PTH207  what is compared
    expected = sorted({path for path in fitting if Path(path).is_file()})
    try:
        assert find([f"{root}/{pattern}"]).paths == expected
    except InputError:
        assert not expected


def test_a_pattern_takes_no_folder_of_a_system(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "@eaDir/2.png")
    found = find([f"{tmp_path}/*"])
    assert below(tmp_path, found.paths) == ["a/1.png"]
    assert found.ignored == {"@eaDir folder": 1}


def test_nothing_is_named_as_such() -> None:
    with pytest.raises(InputError, match="'' does not exist"):
        find([""])
