"""An archive that Python's modules read only in part is answered whole, or refused."""

import io
import os
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from alexnet_tk.archives import Member
from alexnet_tk.errors import InputError
from alexnet_tk.inference import find


def a_tar(*names: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return file.getvalue()


def a_zip(*names: str, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, name)
        archive.comment = comment
    return file.getvalue()


def contents(path: Path, content: bytes) -> dict[str, bytes]:
    """The files that are found in an archive of this content, by name."""
    path.write_bytes(content)
    return {each.name: each.read() for each in find([path]).paths if isinstance(each, Member)}


def named(*names: str) -> dict[str, bytes]:
    return {name: name.encode() for name in names}


@pytest.mark.parametrize("zeros", [0, 512, 512 * 5000])
def test_tars_joined_to_one_are_answered_whole(tmp_path: Path, zeros: int) -> None:
    joined = a_tar("a.png", "b.png") + bytes(zeros) + a_tar("c.png") + a_tar("d.png")
    assert contents(tmp_path / "x.tar", joined) == named("a.png", "b.png", "c.png", "d.png")


def test_a_lone_block_of_zeros_in_a_tar_is_not_its_end(tmp_path: Path) -> None:
    a, b = a_tar("a.png")[:1024], a_tar("b.png")
    assert contents(tmp_path / "x.tar", a + bytes(512) + b) == named("a.png", "b.png")


@pytest.mark.parametrize("rest", [b"rubbish", a_tar("b.png")[:700], b"\0" * 100 + a_tar("b.png")])
def test_what_follows_a_tar_and_is_none_is_an_error(tmp_path: Path, rest: bytes) -> None:
    with pytest.raises(InputError, match="can't be read as an archive"):
        contents(tmp_path / "x.tar", a_tar("a.png") + rest)


def test_a_volume_of_a_tar_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    first = bytearray(a_tar("a.png", "b.png"))
    info = tarfile.TarInfo("a.png")
    info.type, info.size = b"M", 5
    first[:512] = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(InputError, match="one volume of several"):
        contents(tmp_path / "x.tar", bytes(first))


def test_a_hard_link_in_a_tar_is_the_file_that_stood_before_it(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for content in (b"old", b"new"):
            info = tarfile.TarInfo("./a.png")
            info.size = 3
            archive.addfile(info, io.BytesIO(content))
            if content == b"old":
                link = tarfile.TarInfo("b.png")
                link.type, link.linkname = tarfile.LNKTYPE, "a.png"
                archive.addfile(link)
    (tmp_path / "x.tar").write_bytes(file.getvalue())
    found = find([tmp_path / "x.tar"]).paths
    assert [each.read() for each in found if isinstance(each, Member)] == [b"old", b"old", b"new"]


def test_a_file_without_a_name_in_a_zip_hides_no_other(tmp_path: Path) -> None:
    """Python ends a name at its first NUL."""
    (tmp_path / "x.zip").write_bytes(a_zip("a.png", "b.png").replace(b"a.png", b"\0.png"))
    found = find([tmp_path / "x.zip"])
    assert [each.name for each in found.paths if isinstance(each, Member)] == ["b.png"]
    assert found.ignored == {"no ending": 1}


def test_a_hard_link_to_a_link_is_a_link(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, type, target in (("a.png", tarfile.SYMTYPE, "b"), ("c.png", tarfile.LNKTYPE, "a.png")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = type, target
            archive.addfile(link)
    found = find([tmp_path / "x.tar"])
    assert (found.paths, dict(found.ignored)) == ([], {"link in an archive": 2})


def test_gnus_incremental_archives_have_plain_names(tmp_path: Path) -> None:
    """Their headers hold times, in octal digits, where POSIX has the first part of a long name."""
    content = bytearray(a_tar("cat/a.png"))
    content[257:265] = tarfile.GNU_MAGIC
    content[345:357] = b"15170460354\0"
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    assert contents(tmp_path / "x.tar", bytes(content)) == {"cat/a.png": b"cat/a.png"}


def test_long_names_of_posix_are_whole(tmp_path: Path) -> None:
    name = f"{'a' * 100}/{'b' * 90}.png"
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert contents(tmp_path / "x.tar", file.getvalue()) == {name: b"x"}


def test_sparse_files_in_a_second_tar_are_read(tmp_path: Path) -> None:
    with (tmp_path / "hole.png").open("wb") as sparse:
        sparse.truncate(2**20)
        sparse.seek(2**20)
        sparse.write(b"end")
    tar: list[str | Path] = [
        "tar",
        "--sparse",
        "--format=gnu",
        "-C",
        tmp_path,
        "-cf",
        tmp_path / "s.tar",
        "hole.png",
    ]
    if subprocess.run(tar, capture_output=True).returncode:
        pytest.skip("this tar writes no sparse files")
    found = contents(tmp_path / "x.tar", a_tar("a.png") + (tmp_path / "s.tar").read_bytes())
    assert found == {"a.png": b"a.png", "hole.png": bytes(2**20) + b"end"}


def test_a_zip_after_something_else_is_answered_whole(tmp_path: Path) -> None:
    """A program that unpacks itself; it may hold the signature of a zip's parts, too."""
    program = b"#!/bin/sh\nPK\3\4 PK\5\6" + os.urandom(70_000)
    assert contents(tmp_path / "x.zip", program + a_zip("a.png", "b.png")) == named("a.png", "b.png")
    assert contents(tmp_path / "y.zip", a_zip("a.png", comment=b"PK\3\4") + bytes(64)) == named("a.png")


@pytest.mark.parametrize(
    "joined",
    [
        a_zip("a.png") + a_zip("b.png"),
        a_zip("a.png", comment=b"of a") + a_zip("b.png"),
        a_zip("a.png") + a_zip(),
        a_zip("a.png") + a_zip("b.png")[:-30],
    ],
)
def test_zips_joined_to_one_are_refused(tmp_path: Path, joined: bytes) -> None:
    with pytest.raises(InputError, match="several zip files joined to one"):
        contents(tmp_path / "x.zip", joined)


def changed_end(offset: int, value: int) -> bytes:
    content = bytearray(a_zip("a.png", "b.png"))
    struct.pack_into("<H", content, content.rfind(b"PK\5\6") + offset, value)
    return bytes(content)


def test_a_part_of_a_split_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one part of a split archive"):
        contents(tmp_path / "x.zip", changed_end(4, 2))


def test_a_zip_that_lists_fewer_files_than_it_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its list ends after 2 files and should hold 3"):
        contents(tmp_path / "x.zip", changed_end(10, 3))


def test_two_files_of_one_name_in_a_zip_are_both_answered(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", "first")
        archive.writestr("a.png", "second")
    found = find([tmp_path / "x.zip"]).paths
    assert [each.read() for each in found if isinstance(each, Member)] == [b"first", b"second"]


@pytest.mark.parametrize("number", [3, 70_000])
def test_a_zip_of_many_files_is_listed_whole(tmp_path: Path, number: int) -> None:
    """From 65,535 on, the numbers stand in the records of zip64."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(number):
            archive.writestr(f"{index}.png", b"")
    assert len(find([path]).paths) == number
