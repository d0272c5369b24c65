"""Files appear whole or not at all."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet_tk import Classifier, export, import_weights
from alexnet_tk.description import describe
from alexnet_tk.errors import AlexnetError, CheckpointError, ModelError, OutputError, PictureError
from alexnet_tk.files import refuse_existing, replacing
from alexnet_tk.images import load
from alexnet_tk.preprocess import Square

no_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that exists; its folder holds nothing else."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def umask() -> Iterator[None]:
    """Puts back the umask that a test changes."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def assert_untouched(target: Path) -> None:
    assert target.read_bytes() == b"old"
    assert [each.name for each in target.parent.iterdir()] == [target.name]


def test_the_new_file_takes_the_place_of_the_old_one(target: Path) -> None:
    with replacing(target) as part:
        part.write_bytes(b"new")
        assert target.read_bytes() == b"old", "the old file stays until the new one is whole"
        assert part.parent == target.parent, "a rename from elsewhere would not be atomic"
    assert target.read_bytes() == b"new"
    assert [each.name for each in target.parent.iterdir()] == [target.name]


def test_a_new_file_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing(Path("model.onnx")) as part:
        part.write_bytes(b"new")
    assert (tmp_path / "model.onnx").read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(143)])
def test_the_old_file_stays_if_the_block_raises(target: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, replacing(target) as part:
        part.write_bytes(b"half of the n")
        raise error
    assert caught.value is error
    assert_untouched(target)


def test_nothing_stays_if_the_block_raises_and_there_was_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), replacing(tmp_path / "a.pt") as part:
        part.write_bytes(b"half")
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.usefixtures("umask")
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    os.umask(mask)
    with replacing(tmp_path / "a.csv") as part:
        part.write_bytes(b"new")
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == mode
    assert os.umask(mask) == mask, "the process's own umask is as it was"


def test_a_disk_that_is_full_when_the_file_is_flushed(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(OutputError, match=r"model\.onnx .*No space left") as caught,
        replacing(target) as part,
    ):
        part.write_bytes(b"new")
    assert "\n" not in str(caught.value)
    assert_untouched(target)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_is_full_while_the_file_is_written(target: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"model\.onnx .*No space left"),
        replacing(target),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"new")
    assert_untouched(target)


def test_the_file_is_on_the_disk_before_it_takes_the_name(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power failure could leave the new name with nothing in it."""
    seen: list[tuple[bytes, bytes]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        flushed = Path(f"/dev/fd/{descriptor}").read_bytes()
        seen.append((flushed, target.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with replacing(target) as part:
        part.write_bytes(b"new")
    assert seen == [(b"new", b"old")]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.pt"), replacing(tmp_path / "gone" / "a.pt"):
        pytest.fail("the block must not run")


def test_a_folder_that_goes_away_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OutputError, match=r"a\.pt"), replacing(folder / "a.pt") as part:
        part.unlink()
        folder.rmdir()


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "a.pt").mkdir()
    with pytest.raises(OutputError, match=r"a\.pt"), replacing(tmp_path / "a.pt") as part:
        part.write_bytes(b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt"]


@no_root
def test_a_folder_that_can_not_be_written_to(target: Path) -> None:
    target.parent.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="Permission denied"), replacing(target):
            pytest.fail("the block must not run")
        with pytest.raises(OutputError, match="is not writable"):
            refuse_existing(target, overwrite=True)
    finally:
        target.parent.chmod(0o755)


def test_an_output_that_exists_is_refused_unless_it_may_be_overwritten(target: Path) -> None:
    with pytest.raises(OutputError, match=r"model\.onnx exists.*--overwrite"):
        refuse_existing(target, overwrite=False)
    refuse_existing(target, overwrite=True)
    assert_untouched(target)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_new_is_taken_and_not_yet_made(tmp_path: Path, overwrite: bool) -> None:
    refuse_existing(tmp_path / "new.csv", overwrite)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_can_not_be_a_file_is_refused(tmp_path: Path, overwrite: bool) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        refuse_existing(tmp_path, overwrite)
    with pytest.raises(OutputError, match=r"gone.*does not exist"):
        refuse_existing(tmp_path / "gone" / "new.csv", overwrite)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        refuse_existing(tmp_path / "file" / "new.csv", overwrite)


def test_an_output_in_the_current_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refuse_existing(Path("new.csv"), overwrite=False)


@pytest.mark.parametrize("name", ["model.onnx", "./model.onnx", "link.onnx", "hard.onnx"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_the_input_is_refused(
    target: Path, name: str, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever name, and even where it may be overwritten."""
    monkeypatch.chdir(target.parent)
    Path("link.onnx").symlink_to("model.onnx")
    Path("hard.onnx").hardlink_to("model.onnx")
    with pytest.raises(OutputError, match="is the input itself"):
        refuse_existing(Path(name), overwrite, source=[Path("gone.onnx"), target])
    assert target.read_bytes() == b"old"


def test_another_output_beside_the_input_is_taken(target: Path) -> None:
    refuse_existing(target.with_name("new.onnx"), overwrite=False, source=[target])
    other = target.with_name("other.onnx")
    other.write_bytes(b"old")  # the same bytes are not the same file
    refuse_existing(other, overwrite=True, source=[target])


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (POINTER, "a Git LFS pointer, not the picture it stands for; get that with `git lfs pull`"),
        (b"<!DOCTYPE html><html>", "a web page, not a picture; download the file itself, .*"),
        (b"<Error><Code>AccessDenied</Code>", "a web page, not a picture; download the file itself, .*"),
        (b"<svg xmlns=...", "not a picture that Pillow can read"),
        (b'<?xml version="1.0"?>\n<svg xmlns=...', "not a picture that Pillow can read"),
        (b"Not Found", "not a picture that Pillow can read"),
        (b"\0" * 300, "not a picture that Pillow can read"),
    ],
)
def test_what_was_downloaded_in_a_pictures_stead_is_named(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(PictureError) as caught:
        load(tmp_path / "a.png", Square(8, 8, "bilinear"))
    assert re.fullmatch(reason, str(caught.value))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "is a Git LFS pointer, .* `git lfs pull`"),
        (b"\n\n<!DOCTYPE html><html>", "is a web page, not a model"),
        (b"\xef\xbb\xbf<html lang=en>", "is a web page, not a model"),
        (b"<head><title>Sign in", "is a web page, not a model"),
        (b"<!-- saved from --><html>", "is a web page, not a model"),
        (b"<Error><Code>NoSuchKey", "is a web page, not a model"),
        (
            b'{"message":\n"Not Found"}',
            "is text that begins .*Not Found.*, not a model; download it again, or make one with",
        ),
        (b"404: Not Found", "is text that begins '404: Not Found', not a model"),
    ],
)
def test_what_was_downloaded_in_a_models_stead_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    for name in ("a.pt", "a.onnx"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        Classifier(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=words):
        Classifier(tmp_path / "a.onnx", labels=["a", "b"], preprocess="imagenet")
    with pytest.raises(CheckpointError, match=words):
        export(tmp_path / "a.pt", tmp_path / "b.onnx")
    for name in ("a.pt", "a.onnx"):
        with pytest.raises(CheckpointError, match=words):
            import_weights(tmp_path / name, tmp_path / "model.pt")
        with pytest.raises(AlexnetError, match=words):
            describe(tmp_path / name)
