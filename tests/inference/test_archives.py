"""Pictures in archives are answered as the same pictures in a folder."""

import io
import os
import resource
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from alexnet_tk import archives
from alexnet_tk.archives import Member
from alexnet_tk.errors import InputError, PictureError
from alexnet_tk.inference import find

FILES = {
    "b/2.png": b"two",
    "b/1.PNG": b"one",
    "a.jpg": b"a",
    "notes.txt": b"ignored",
    "b/.hidden.png": b"hidden",
    "__MACOSX/._a.jpg": b"hidden",
    ".git/x.png": b"hidden",
}
SHOWN = ["b/2.png", "b/1.PNG", "a.jpg"]  # as they stand in the archive


def zipped(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("b")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".TGZ") else "w") as archive:
        for name, content in files.items():
            told = tarfile.TarInfo(name)
            told.size = len(content)
            archive.addfile(told, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "X.ZIP", "x.tar.gz", "X.TGZ"])
def test_members_are_found_and_read(tmp_path: Path, name: str) -> None:
    path = (zipped if name.lower().endswith("zip") else tarred)(tmp_path / name)
    found = find([path])
    assert found.paths == [f"{path}/{each}" for each in SHOWN]
    links = {"link in an archive": 1} if not name.lower().endswith("zip") else {}
    assert found.ignored == {".txt": 1, "__MACOSX folder": 1} | links
    for each, shown in zip(found.paths, SHOWN, strict=True):
        assert isinstance(each, Member)
        assert (each.name, each.size, each.read()) == (shown, len(FILES[shown]), FILES[shown])


def test_an_archive_in_a_folder_is_a_file_like_others(tmp_path: Path) -> None:
    zipped(tmp_path / "x.zip")
    assert find([tmp_path]).paths == []
    assert find([tmp_path]).ignored == {".zip": 1}


@pytest.mark.parametrize("name", ["x.tar.bz2", "x.tar.zst", "x.TAR.XZ"])
def test_a_compressed_tar_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="compressed as a whole"):
        find([tmp_path / name])


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tgz"])
@pytest.mark.parametrize("content", [b"", b"rubbish" * 300])
def test_what_is_no_archive_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.{name[2:]} can't be read as an archive"):
        find([tmp_path / name])


def test_a_damaged_member_fails_alone(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.png": os.urandom(1000), "b.png": b"b"})
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    first, second = find([path]).paths
    assert isinstance(first, Member)
    assert isinstance(second, Member)
    with pytest.raises(PictureError, match="can't be unpacked"):
        first.read()
    assert second.read() == b"b"


def test_a_tar_that_is_cut_off_fails_where_it_ends(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", {"a.png": b"a" * 2000, "b.png": b"b" * 2000})
    found = find([path])
    os.truncate(path, 4000)
    first, second = found.paths
    assert isinstance(first, Member)
    assert isinstance(second, Member)
    assert first.read() == b"a" * 2000
    with pytest.raises(PictureError, match="cut off"):
        second.read()


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 10**6)
    path = zipped(tmp_path / "x.zip", {"a.png": bytes(10**6 + 1)})
    assert path.stat().st_size < 10**4
    (member,) = find([path]).paths
    assert isinstance(member, Member)
    with pytest.raises(PictureError, match="more than 1,000,000 bytes"):
        member.read()


def test_hard_links_and_names_that_lead_out_are_members_too(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", {"../a.png": b"first"})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b/again.png")
        link.type, link.linkname = tarfile.LNKTYPE, "../a.png"
        archive.addfile(link)
    found = find([path]).paths
    assert found == [f"{path}/../a.png", f"{path}/b/again.png"]
    assert [each.read() for each in found if isinstance(each, Member)] == [b"first", b"first"]


def test_a_zips_links_are_no_files(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zipped(tmp_path / "x.zip", {"a.png": b"a"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "a.png")
    assert find([path]).paths == [f"{path}/a.png"]


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar to make a sparse archive with")
def test_the_holes_of_a_sparse_member_are_zeros(tmp_path: Path) -> None:
    with (tmp_path / "holes.bmp").open("wb") as file:
        file.write(b"begin")
        file.seek(2**20)
        file.write(b"end")
    (tmp_path / "next.bmp").write_bytes(b"of another picture")
    command = ["tar", "-cSf", "x.tar", "holes.bmp", "next.bmp"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "x.tar").stat().st_size < 2**19  # the holes are left out
    first, second = find([tmp_path / "x.tar"]).paths
    assert isinstance(first, Member)
    assert isinstance(second, Member)
    assert first.read() == (tmp_path / "holes.bmp").read_bytes()
    assert second.read() == b"of another picture"


@pytest.mark.parametrize("damage", ["header", "in a header", "between files"])
def test_a_tar_whose_end_is_missing_is_refused(tmp_path: Path, damage: str) -> None:
    """What stands behind the damage would vanish, and nobody would know."""
    path = tarred(tmp_path / "x.tar", {f"{number}.png": b"x" for number in range(4)})
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[2 * 1024] ^= 0xFF  # each file has a block for its header and one for what it holds
    path.write_bytes(content[: {"header": len(content), "in a header": 2 * 1024 + 100}.get(damage, 2 * 1024)])
    with pytest.raises(InputError, match="cut off or damaged after 2 files"):
        find([path])


def test_more_archives_than_a_process_may_have_files_open(tmp_path: Path) -> None:
    paths = [zipped(tmp_path / f"{i:03}.zip", {f"{i}.png": b"%d" % i}) for i in range(300)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 100, before[1]))
    try:
        found = [each for each in find(paths).paths if isinstance(each, Member)]
        for order in (found, found[::-1]):
            assert [each.read() for each in order] == [
                each.name.removesuffix(".png").encode() for each in order
            ]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_archive_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"three"):
        (member,) = find([zipped(tmp_path / "x.zip", {"a.png": content})]).paths
        assert isinstance(member, Member)
        assert member.read() == content


def test_an_encrypted_member_says_so(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.png": b"a"})
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # APPNOTE.TXT, sections 4.3.7 and 4.3.12
        content[content.rindex(header) + flags] |= 1
    path.write_bytes(content)
    (member,) = find([path]).paths
    assert isinstance(member, Member)
    with pytest.raises(PictureError, match=r"^encrypted in its archive$"):
        member.read()


@pytest.mark.parametrize("zeros", [1, 512, 100_000, 3_000_000])
def test_zips_joined_with_zeros_between_are_refused(zeros: int, tmp_path: Path) -> None:
    first, second = zipped(tmp_path / "1.zip"), zipped(tmp_path / "2.zip")
    joined = tmp_path / "joined.zip"
    joined.write_bytes(first.read_bytes() + bytes(zeros) + second.read_bytes())
    with pytest.raises(InputError, match="several zip files joined"):
        find([joined])


def test_a_zip_after_zeros_and_other_content_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"#!/bin/sh\n" + bytes(4096) + zipped(tmp_path / "1.zip").read_bytes())
    assert len(find([path]).paths) == len(SHOWN)


@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_a_link_in_an_archive_is_counted(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".tar":
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo("link.png")
            info.type, info.linkname = tarfile.SYMTYPE, "a.png"
            tar.addfile(info)
    else:
        entry = zipfile.ZipInfo("link.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(entry, "a.png")
    found = find([path])
    assert found.paths == []
    assert found.ignored == {"link in an archive": 1}
    assert "unpack an archive" in found.instead_of_pictures()
