"""Runs that are interrupted, and resumed."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alexnet_tk.errors import CheckpointError, DataError, OutputError, RecipeError, TrainingError
from alexnet_tk.training import Checkpoint, loop, pack, train
from alexnet_tk.training.parallel import World
from alexnet_tk.training.trainer import Trainer
from tests.conftest import TINY
from tests.training.log import Log

# 54 training and 6 validation pictures: five steps an epoch, the last one ragged.
SETTINGS = (
    "network.init=he",
    "preprocess.std=[60,60,60]",
    "train.batch_size=12",
    "train.epochs=3",
    "augment.rotate=4",
)


class Stop(Exception):  # noqa: N818
    """Ends a run where a crash might."""


class StoppingLog(Log):
    """Stops, or sends this process a signal, at the n-th batch of pictures."""

    def __init__(self, after: int, number: signal.Signals | None = None) -> None:
        super().__init__()
        self.left, self.number = after, number

    def advance(self, count: int, loss: float | None = None) -> None:
        super().advance(count, loss)
        if not count:
            return
        self.left -= 1
        if self.left == 0 and self.number is None:
            raise Stop
        if self.left == 0 and self.number is not None:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def settings(tiny: tuple[str, ...]) -> tuple[str, ...]:
    return (*tiny, *SETTINGS)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train(pictures, settings=(*TINY, *SETTINGS), output=folder / "model.pt", device="cpu")
    return folder


@pytest.fixture(scope="module")
def undisturbed(whole: Path) -> Checkpoint:
    return Checkpoint.load(whole / "model.pt")


def assert_same_end(one: Path, other: Path) -> None:
    """The last epoch's weights and momentum, too: the best epoch may have been the first."""
    ends = [
        torch.load(each / "runs" / "model" / "last.pt", weights_only=True)["trainer"] for each in (one, other)
    ]
    for kind in ("weights", "momentum"):
        assert all(torch.equal(ends[0][kind][name], each) for name, each in ends[1][kind].items())


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert one.training == other.training
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


# Four looks measure the colours; then six belong to every epoch, the last of them to validation.
@pytest.mark.parametrize("after", [1, 5, 9, 10, 11, 16, 21, 22])
@pytest.mark.parametrize("every", [0, 600])
def test_a_run_that_crashed_goes_on(
    pictures: Path,
    tmp_path: Path,
    settings: tuple[str, ...],
    undisturbed: Checkpoint,
    whole: Path,
    after: int,
    every: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it was saved after every step or only at the ends of epochs."""
    monkeypatch.setattr(loop, "SAVE_EVERY", every)
    output = tmp_path / "model.pt"
    with pytest.raises(Stop):
        train(pictures, settings=settings, output=output, progress=StoppingLog(after), device="cpu")
    torch.rand(3)
    resumed = train(pictures, settings=settings, output=output, resume=True, device="cpu")
    assert_same(resumed, undisturbed)
    assert_same(Checkpoint.load(output), undisturbed)
    assert_same_end(tmp_path, whole)


# From the last step of the first epoch to the first one of the second.
@pytest.mark.parametrize("after", range(12, 26))
def test_a_process_stops_only_when_all_do(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that comes just after the processes agreed that there is none waits for the next time."""
    answers: list[int] = []

    def agree(world: World, value: int) -> int:
        answers.append(value)
        if len(answers) == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return value

    monkeypatch.setattr(World, "max", agree)
    with pytest.raises(SystemExit) as error:
        train(pictures, settings=settings, output=tmp_path / "model.pt", device="cpu")
    assert error.value.code == 128 + signal.SIGTERM
    assert len(answers) > after
    assert answers[-1] == signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
@pytest.mark.parametrize("after", [7, 10, 18])
def test_a_signal_finishes_the_step_and_saves(
    pictures: Path,
    tmp_path: Path,
    settings: tuple[str, ...],
    undisturbed: Checkpoint,
    number: signal.Signals,
    error: type[BaseException],
    after: int,
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(error):
        train(
            pictures,
            settings=settings,
            output=tmp_path / "m.pt",
            progress=StoppingLog(after, number),
            device="cpu",
        )
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    state = torch.load(tmp_path / "runs" / "m" / "last.pt", weights_only=True)
    epochs, looks = divmod(after - 5, 6)
    assert (state["run"]["epoch"], state["run"]["batch"]) == (epochs, min(looks + 1, 5))
    log = Log()
    assert_same(
        train(pictures, output=tmp_path / "m.pt", resume=True, progress=log, device="cpu"), undisturbed
    )
    assert len(log.epochs) == 3 - epochs


def test_training_in_a_thread_leaves_signals_alone(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], undisturbed: Checkpoint
) -> None:
    results: list[Checkpoint] = []
    thread = threading.Thread(
        target=lambda: results.append(
            train(pictures, settings=settings, output=tmp_path / "m.pt", device="cpu")
        )
    )
    thread.start()
    thread.join()
    assert_same(results[0], undisturbed)


def test_nothing_to_resume_and_nothing_left_to_do(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], undisturbed: Checkpoint
) -> None:
    output = tmp_path / "model.pt"
    assert_same(train(pictures, settings=settings, output=output, resume=True, device="cpu"), undisturbed)
    before, log = output.stat().st_mtime_ns, Log()
    assert_same(train(pictures, output=output, resume=True, progress=log, device="cpu"), undisturbed)
    assert output.stat().st_mtime_ns == before
    assert log.epochs == []
    assert any("finished" in line for line in log.said)
    # A run that was stopped before its pictures were drawn draws them, and takes no step.
    drawn, log = tmp_path / "runs" / "model" / "filters.png", Log()
    drawn.unlink()
    assert_same(
        train(pictures, output=tmp_path / "model.pt", resume=True, progress=log, device="cpu"), undisturbed
    )
    assert drawn.exists()
    assert log.epochs == []


def test_pictures_may_be_moved_or_named_otherwise(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], undisturbed: Checkpoint
) -> None:
    data, output = tmp_path / "data", tmp_path / "model.pt"
    shutil.copytree(pictures, data)
    with pytest.raises(Stop):
        train(data, settings=settings, output=output, progress=StoppingLog(12), device="cpu")
    data.rename(tmp_path / "moved")
    assert_same(
        train(f"{tmp_path}/../{tmp_path.name}/moved", output=output, resume=True, device="cpu"), undisturbed
    )


def test_a_packed_set_may_be_moved(pictures: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    pack(pictures, tmp_path / "packed")
    output = tmp_path / "model.pt"
    with pytest.raises(Stop):
        train(tmp_path / "packed", settings=settings, output=output, progress=StoppingLog(12), device="cpu")
    (tmp_path / "packed").rename(tmp_path / "moved")
    assert train(tmp_path / "moved", output=output, resume=True, device="cpu").training["epoch"]


def test_other_names_are_other_pictures(pictures: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    data, output = tmp_path / "data", tmp_path / "model.pt"
    shutil.copytree(pictures, data)
    with pytest.raises(Stop):
        train(data, settings=settings, output=output, progress=StoppingLog(12), device="cpu")
    (data / "red" / "0.png").rename(data / "red" / "other.png")
    with pytest.raises(DataError, match="other pictures"):
        train(data, output=output, resume=True, device="cpu")


@pytest.mark.parametrize("schedule", ["plateau", "steps"])
def test_a_finished_run_takes_more_epochs(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], schedule: str
) -> None:
    settings = (*settings, f"train.schedule={schedule}", "train.steps=[2]")
    more, output = (*settings, "train.epochs=4"), tmp_path / "one" / "model.pt"
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    train(pictures, settings=(*settings, "train.epochs=2"), output=output, device="cpu")
    train(pictures, settings=("train.epochs=4",), output=output, resume=True, device="cpu")
    train(pictures, settings=more, output=tmp_path / "other" / "model.pt", device="cpu")
    assert_same_end(output.parent, tmp_path / "other")
    with pytest.raises(RecipeError, match="has been trained for 4 epochs"):
        train(pictures, settings=("train.epochs=3",), output=output, resume=True, device="cpu")


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_a_schedule_over_all_epochs_takes_no_more(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], schedule: str
) -> None:
    output = tmp_path / "model.pt"
    train(
        pictures,
        settings=(*settings, f"train.schedule={schedule}", "train.epochs=1"),
        output=output,
        device="cpu",
    )
    with pytest.raises(RecipeError, match=f"'{schedule}' depends on it; .* --init {output}"):
        train(pictures, settings=("train.epochs=2",), output=output, resume=True, device="cpu")


def test_a_run_that_no_longer_improves_takes_no_more_epochs(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    output = tmp_path / "model.pt"
    ends_early = (
        "train.schedule=plateau",
        "train.drops=0",
        "train.patience=1",
        "train.epochs=9",
        "train.lr=1e-9",
    )
    train(pictures, settings=(*settings, *ends_early), output=output, device="cpu")
    with pytest.raises(RecipeError, match=f"validation improved no more; .* --init {output}"):
        train(pictures, settings=("train.epochs=20",), output=output, resume=True, device="cpu")


def test_a_plot_that_can_not_be_drawn_costs_nothing_else(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("no such glyph")

    monkeypatch.setattr("alexnet_tk.training.plots.draw_confusion", fail)
    log = Log()
    train(
        pictures,
        settings=(*settings, "train.epochs=1"),
        output=tmp_path / "model.pt",
        progress=log,
        device="cpu",
    )
    folder = tmp_path / "runs" / "model"
    assert f"{folder / 'confusion.png'}: can't be drawn: no such glyph" in log.said
    assert (folder / "filters.png").exists()


def test_another_run_is_not_taken_up(pictures: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    output = tmp_path / "model.pt"
    with pytest.raises(Stop):
        train(pictures, settings=settings, output=output, progress=StoppingLog(12), device="cpu")
    with pytest.raises(RecipeError, match="another recipe"):
        train(pictures, settings=("train.lr=0.5",), output=output, resume=True, device="cpu")
    with pytest.raises(DataError, match="other pictures"):
        train(output=output, resume=True, device="cpu")
    with pytest.raises(OutputError, match="--overwrite"):
        train(pictures, settings=settings, output=output, device="cpu")
    last = tmp_path / "runs" / "model" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        train(pictures, output=output, resume=True, device="cpu")


def test_a_full_disk_leaves_the_last_checkpoint(
    pictures: Path,
    tmp_path: Path,
    settings: tuple[str, ...],
    undisturbed: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "model.pt"
    with pytest.raises(Stop):
        train(pictures, settings=settings, output=output, progress=StoppingLog(13), device="cpu")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.pt")}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        train(pictures, settings=settings, output=output, resume=True, device="cpu")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.pt")} == files
    monkeypatch.undo()
    assert_same(train(pictures, output=output, resume=True, device="cpu"), undisturbed)


def test_training_restarts_once_after_a_stall(pictures: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    log = Log()
    settings = (*tiny, "network.init=paper", "train.lr=1e-12", "train.stall=7", "train.batch_size=12")
    best = train(pictures, settings=settings, output=tmp_path / "m.pt", progress=log, device="cpu")
    assert best.recipe.network.init == "caffe"
    assert best.recipe.train.seed == 1
    (story,) = best.training["restarts"]
    assert "after 7 steps the loss was 1.0" in story  # ln 3 = 1.0986
    assert story in log.said
    assert len(log.epochs) == 1 + 2  # one before the restart, then the two that the recipe asks for


def test_training_that_learns_is_not_restarted(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    best = train(pictures, settings=(*settings, "train.stall=10"), output=tmp_path / "m.pt", device="cpu")
    assert best.training["restarts"] == []


def test_a_loss_that_is_nan_or_infinite_stops(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    output = tmp_path / "model.pt"
    with pytest.raises(TrainingError, match=r"NaN or infinite at step \d+ \(lr .*--set train.lr=1e\+29"):
        train(pictures, settings=(*settings, "train.lr=1e30"), output=output, device="cpu")
    assert not output.exists()


def test_half_precision_learns_too(pictures: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    settings = (*settings, "train.precision=bf16", "train.epochs=12")
    best = train(pictures, settings=settings, output=tmp_path / "m.pt", device="cpu")
    assert best.weights["c1.weight"].dtype == torch.float32
    first, *_, last = (line["loss"] for line in best.training["history"])
    assert last < first


def test_another_checkpoint_to_start_from(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], undisturbed: Checkpoint
) -> None:
    undisturbed.save(tmp_path / "first.pt")
    log = Log()
    still = (*settings[-1:], "train.lr=1e-12", "train.epochs=1")
    best = train(
        pictures,
        settings=still,
        initial=tmp_path / "first.pt",
        output=tmp_path / "m.pt",
        progress=log,
        device="cpu",
    )
    assert best.recipe.network == undisturbed.recipe.network
    assert all(torch.allclose(best.weights[n], undisturbed.weights[n], atol=1e-6) for n in best.weights)
    assert any(line.endswith("in all layers") for line in log.said)
    for name in ("red", "green"):
        (tmp_path / "two" / name).mkdir(parents=True)
        for path in (pictures / name).iterdir():
            (tmp_path / "two" / name / path.name).write_bytes(path.read_bytes())
    best = train(
        tmp_path / "two",
        settings=still,
        initial=tmp_path / "first.pt",
        output=tmp_path / "n.pt",
        progress=log,
        device="cpu",
    )
    assert best.labels == ["green", "red"]
    assert torch.allclose(best.weights["f7.weight"], undisturbed.weights["f7.weight"], atol=1e-6)
    assert any("all layers except f8" in line for line in log.said)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("scale", ["training", "prediction"])
def test_its_weights_are_adapted_to_another_recipe(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], order: str, scale: str
) -> None:
    """To the channel order, the deviation and the dropout, so that the answers stay."""
    fixed = (*settings, "preprocess.mean=[100,110,120]", "train.lr=1e-12", "train.epochs=1")
    before = (f"preprocess.channel_order={order}", f"network.dropout_scale={scale}", "network.dropout=0.2")
    now = ("preprocess.channel_order=RGB", "network.dropout_scale=training", "network.dropout=0.5")
    first, second = (
        train(pictures, settings=each, initial=initial, output=tmp_path / name, device="cpu")
        for each, initial, name in (
            ((*fixed, *before, "preprocess.std=[58,57,56]"), None, "first.pt"),
            ((*fixed, *now, "preprocess.std=[3,2,1]"), tmp_path / "first.pt", "second.pt"),
        )
    )
    some = torch.randint(0, 256, (4, 40, 40, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected, found = first.classifier()(some), second.classifier()(some)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(expected[0], expected[1], rtol=1e-2), "they depend on the picture"


@pytest.mark.slow
def test_kills_at_random_moments(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], undisturbed: Checkpoint
) -> None:
    """SIGKILL, three times on the way to the end."""
    chance = random.Random(0)
    words = [word for each in settings for word in ("--set", each)]
    command: list[str | Path] = [
        Path(sys.executable).with_name("alexnet-tk"),
        "train",
        str(pictures),
        *words,
        "--resume",
    ]
    ends = []
    for _ in range(3):
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            any(line.startswith("device: ") for line in process.stderr)  # then it begins to train
            time.sleep(chance.uniform(0, 1))
            process.kill()
        ends.append(process.returncode)
    assert ends[0] == -signal.SIGKILL
    train(pictures, output=tmp_path / "model.pt", resume=True, device="cpu")
    assert_same(Checkpoint.load(tmp_path / "model.pt"), undisturbed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # the compiler's, of parts of torch
def test_compiled_it_takes_the_same_steps(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for rounding; resumed, too."""
    monkeypatch.chdir(tmp_path)
    settings = (*settings, "train.lr=0.001", "train.precision=fp32")
    eager = train(pictures, settings=settings, output=tmp_path / "eager.pt", device="cpu")
    with pytest.raises(Stop):
        train(
            pictures,
            settings=settings,
            output=tmp_path / "model.pt",
            compile=True,
            progress=StoppingLog(12),
            device="cpu",
        )
    compiled = train(
        pictures, settings=settings, output=tmp_path / "model.pt", compile=True, resume=True, device="cpu"
    )
    for name, weights in eager.weights.items():
        torch.testing.assert_close(compiled.weights[name], weights, rtol=1e-4, atol=1e-6)


def test_another_packed_set_is_not_taken_up(
    pictures: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    """Its rows have the same numbers and classes; what they were packed from tells them apart."""
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    (other / "red" / "0.png").rename(other / "red" / "another.png")
    pack(pictures, tmp_path / "packed")
    pack(other, tmp_path / "other-packed")
    output = tmp_path / "model.pt"
    with pytest.raises(Stop):
        train(tmp_path / "packed", settings=settings, output=output, progress=StoppingLog(12), device="cpu")
    with pytest.raises(DataError, match="other pictures"):
        train(tmp_path / "other-packed", output=output, resume=True, device="cpu")
    # A set of version 0.1.0 does not say where it comes from; its runs go on.
    index = tmp_path / "other-packed" / "packed.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "source": ""}))
    output = tmp_path / "old.pt"
    with pytest.raises(Stop):
        train(
            tmp_path / "other-packed",
            settings=settings,
            output=output,
            progress=StoppingLog(12),
            device="cpu",
        )
    assert train(tmp_path / "packed", output=output, resume=True, device="cpu").training["epoch"]


def test_a_best_checkpoint_that_is_gone(
    pictures: Path,
    tmp_path: Path,
    settings: tuple[str, ...],
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left is kept, though the epochs to come be worse than the one that was lost."""
    output, log = tmp_path / "model.pt", Log()
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    output.unlink()
    with pytest.raises(CheckpointError, match=r"model\.pt is gone, .* --overwrite to train again"):
        train(pictures, output=output, resume=True, device="cpu")

    class StopsOnceSaved(Log):
        def advance(self, count: int, loss: float | None = None) -> None:
            if output.exists():
                raise Stop

    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(Stop):
        train(pictures, settings=settings, output=output, progress=StopsOnceSaved(), device="cpu")
    output.unlink()
    evaluate = Trainer.evaluate
    monkeypatch.setattr(Trainer, "evaluate", lambda *arguments: replace(evaluate(*arguments), top1=0.0))
    best = train(pictures, output=output, resume=True, progress=log, device="cpu")
    assert any("is gone: the best of the epochs to come" in line for line in log.said)
    assert best.training["epoch"] > 1
    assert Checkpoint.load(output).training["epoch"] == best.training["epoch"]
