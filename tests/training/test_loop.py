"""Training from pictures to a checkpoint."""

import json
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alexnet_tk.errors import DataError, DeviceError, OutputError, RecipeError, UsageError
from alexnet_tk.training import Checkpoint, loop, pack, train
from tests.training.log import Log

LEARNS = ("network.init=he", "preprocess.std=[60,60,60]", "network.dropout=0.1", "train.batch_size=6")


def test_it_learns_and_keeps_the_best(pictures: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    log, output = Log(), tmp_path / "model.pt"
    best = train(
        pictures, settings=(*tiny, *LEARNS, "train.epochs=6"), output=output, progress=log, device="cpu"
    )
    run = tmp_path / "runs" / "model"
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    top1 = [line["val_top1"] for line in metrics]
    assert max(top1) > 0.8
    assert [line.top1 for line in log.epochs] == [round(100 * each, 1) for each in top1]
    assert [line.saved for line in log.epochs] == [
        each > max(top1[:i], default=-1) for i, each in enumerate(top1)
    ]
    loaded = Checkpoint.load(output)
    assert loaded.training["figures"]["val_top1"] == max(top1)
    assert loaded.training["epoch"] == 1 + top1.index(max(top1))
    assert loaded.labels == ["blue", "green", "red"]
    assert all(torch.equal(loaded.weights[name], each) for name, each in best.weights.items())
    # 54 pictures are measured, and 54 + 6 are seen in every epoch.
    assert log.pictures == 54 + 6 * 60
    names = ["confusion.png", "curves.png", "events", "filters.png", "last.pt", "metrics.jsonl", "steps"]
    assert sorted(path.name.replace(".out", " ").split()[0] for path in run.iterdir()) == names
    assert [line["epoch"] for line in metrics] == [1, 2, 3, 4, 5, 6]
    assert [(line.epoch, line.epochs) for line in log.epochs] == [(epoch, 6) for epoch in range(1, 7)]


def test_steps_are_logged_too(
    pictures: Path, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once and in order, also where a run stopped after it had written more than it had saved."""
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    steps = [2, 4, 6, 8, 10, 12, 14, 16, 18]  # of three epochs of six

    class StopsLater(Log):
        def at(self, where: str) -> None:
            if "epoch 2 of 3, step 5" in where:
                raise RuntimeError("stopped")

    settings = (*tiny, *LEARNS, "train.batch_size=9", "train.epochs=3")
    output = tmp_path / "model.pt"
    with pytest.raises(RuntimeError, match="stopped"):
        train(pictures, settings=settings, output=output, progress=StopsLater(), device="cpu")
    metrics = tmp_path / "runs" / "model" / "metrics.jsonl"
    with metrics.open("a") as file:
        file.write('{"step": 99, "epo')  # as a kill leaves it
    # TensorBoard takes event files of one second by the number of the process's writer: 10 before 9.
    time.sleep(1 - time.time() % 1)
    train(pictures, output=output, resume=True, device="cpu")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["step"] for line in lines if "step" in line] == steps
    assert [line["epoch"] for line in lines if "step" not in line] == [1, 2, 3]
    assert [line["epoch"] for line in lines] == sorted(line["epoch"] for line in lines)
    first = lines[0]
    assert first == {"step": 2, "epoch": pytest.approx(1 / 3)} | {
        name: first[name] for name in ("running_loss", "lr", "pictures_per_s")
    }
    events = EventAccumulator(str(tmp_path / "runs" / "model" / "steps")).Reload()
    assert [each.step for each in events.Scalars("running_loss")] == steps


def test_the_same_seed_gives_the_same_bits(pictures: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    weights = []
    for seed in (0, 0, 1):
        settings = (*tiny, f"train.seed={seed}", "augment.rotate=5")
        torch.rand(seed + 3)  # what was drawn before must not matter
        weights.append(
            train(
                pictures, settings=settings, output=tmp_path / "model.pt", overwrite=True, device="cpu"
            ).weights
        )
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["f8.weight"], weights[2]["f8.weight"])


def test_the_sample_and_its_recipe_are_the_default(tmp_path: Path, tiny: tuple[str, ...]) -> None:
    log = Log()
    best = train(settings=(*tiny, "train.epochs=1"), output=tmp_path / "m.pt", progress=log, device="cpu")
    assert "T-shirt" in best.labels
    assert any("fashion-mini" in line for line in log.said)
    assert not any(line.startswith("fashion-mini: ") for line in log.said), "its time is known"
    assert any(line.startswith("device: ") for line in log.said)


def test_a_folders_recipe_is_own_pictures(pictures: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    log = Log()
    best = train(
        pictures, settings=(*tiny, "train.epochs=1"), output=tmp_path / "m.pt", progress=log, device="cpu"
    )
    assert any("own-pictures" in line for line in log.said)
    assert best.recipe.train.schedule == "onecycle"


def test_uneven_classes_are_told_by_train_and_pack(
    pictures: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    """A new run says what helps, unless that is in use; a resumed run can't change it any more."""
    for name, count in (("blue", 20), ("green", 5), ("red", 3)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for path in sorted((pictures / name).iterdir())[:count]:
            (tmp_path / "data" / name / path.name).write_bytes(path.read_bytes())
    told = "uneven classes, in training pictures: 18 × blue, 4 × green, 2 × red"
    cure = "; --set train.class_weights=balanced lets all weigh the same in the loss"
    log = Log()
    pack(tmp_path / "data", tmp_path / "packed", log)
    assert told in log.said
    equal = (*tiny, "train.epochs=1")
    balanced = (*equal, "train.class_weights=balanced")
    runs = ((equal, False, told + cure), (balanced, False, told), (balanced, True, ""))
    for settings, resume, line in runs:
        log = Log()
        train(
            tmp_path / "packed",
            recipe="own-pictures",
            settings=settings,
            output=tmp_path / "m.pt",
            overwrite=True,
            resume=resume,
            progress=log,
            device="cpu",
        )
        assert "".join(each for each in log.said if each.startswith("uneven")) == line


def test_unreadable_pictures_are_listed(pictures: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    broken = []
    for i, path in enumerate(sorted(pictures.glob("*/*"))):
        copy = tmp_path / "data" / ("val" if i % 10 == 0 else "train") / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes() if i % 20 else b"rubbish")
        if i % 20 == 0:
            broken.append(copy)
    log = Log()
    train(tmp_path / "data", settings=tiny, output=tmp_path / "m.pt", progress=log, device="cpu")
    listed = (tmp_path / "runs" / "m" / "unreadable.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == [str(path) for path in broken]
    assert sum("3 unreadable pictures left out" in line for line in log.said) == 1


def test_no_readable_validation_picture_is_an_error(
    pictures: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    for path in sorted(pictures.glob("*/*")):
        for split in ("train", "val"):
            copy = tmp_path / "data" / split / path.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes() if split == "train" else b"")
    with pytest.raises(DataError, match="no validation picture is readable"):
        train(tmp_path / "data", settings=tiny, output=tmp_path / "m.pt", device="cpu")
    assert not (tmp_path / "m.pt").exists()


def test_plateau_ends_a_run_early(pictures: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    log = Log()
    settings = (
        *tiny,
        "train.schedule=plateau",
        "train.patience=1",
        "train.drops=1",
        "train.lr=1e-9",
        "train.epochs=9",
    )
    train(pictures, settings=settings, output=tmp_path / "m.pt", progress=log, device="cpu")
    # Nothing is learned at this rate: one drop after the second epoch, the end after the third.
    assert len(log.epochs) == 3


def test_mistakes_are_found_before_the_work(pictures: Path, tmp_path: Path) -> None:
    log, output = Log(), tmp_path / "model.pt"
    with pytest.raises(RecipeError, match="nosuch"):
        train(recipe="nosuch", output=output, progress=log, device="cpu")
    with pytest.raises(RecipeError, match="nosuch"):
        train(recipe="fashion-mini", settings=("train.nosuch=1",), output=output, progress=log, device="cpu")
    with pytest.raises(UsageError, match="'tpu'"):
        train(pictures, device="tpu", output=output, progress=log)
    with pytest.raises(DataError, match="nosuch"):
        train(tmp_path / "nosuch", output=output, progress=log, device="cpu")
    with pytest.raises(OutputError, match="nosuch"):
        train(output=tmp_path / "nosuch" / "model.pt", progress=log, device="cpu")
    output.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        train(output=output, progress=log, device="cpu")
    assert output.read_text() == "precious"
    assert log.pictures == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA works here")
def test_cuda_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="--device cuda:1"):
        train(device="cuda:1", output=tmp_path / "model.pt")


@pytest.mark.gpu
def test_a_step_on_cuda_is_the_cpus(pictures: Path, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    weights = []
    settings = (*tiny, *LEARNS, "network.dropout=0", "train.epochs=1", "train.batch_size=54")
    for device in ("cpu", "cuda"):
        output = tmp_path / f"{device}.pt"
        weights.append(train(pictures, settings=settings, output=output, device=device).weights)
    for name, each in weights[0].items():
        torch.testing.assert_close(weights[1][name], each, rtol=1e-3, atol=1e-5)
