"""What the tests of the commands share: a folder in which the README's commands were run."""

from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.command import Done, Run, run
from tests.conftest import TINY

main = import_module("alexnet_tk.cli.main")  # in a checkout it stands elsewhere, which mypy can't follow


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which the README's commands were run, with a network that is tiny."""
    folder = tmp_path_factory.mktemp("commands")
    run("samples", "images/", cwd=folder)
    settings = [word for each in (*TINY, "train.epochs=1", "train.lr=0.005") for word in ("--set", each)]
    trained = run("train", *settings, cwd=folder)
    assert "epoch 1/1" in trained.stdout
    assert "alexnet-tk export model.pt" in trained.stdout
    assert "fashion-mini" in trained.stderr
    exported = run("export", "model.pt", cwd=folder)
    assert "largest difference" in exported.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["images", "model.onnx", "model.pt", "runs"]
    return folder


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> Run:
    """As `run`, in this process, which has loaded torch already."""
    monkeypatch.setattr(main, "_prepare_process", lambda: None)  # pytest's signals and streams stay

    def run(*arguments: str, cwd: Path, code: int = 0) -> Done:
        monkeypatch.chdir(cwd)
        done = CliRunner().invoke(main.app, arguments)
        assert done.exit_code == code, done.output + repr(done.exception)
        return done

    return run
