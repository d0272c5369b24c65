"""The authors' network from a packed set to ten views: every change of its run falls into three epochs."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from alexnet_tk.evaluation import evaluate
from alexnet_tk.exporting import export
from alexnet_tk.training import Checkpoint, loop, pack, train
from alexnet_tk.training.packed import open_packed
from alexnet_tk.training.run import Run
from alexnet_tk.training.run_folder import RunFolder
from tests.conftest import TINY
from tests.training.test_resume import Stop, StoppingLog, assert_same, assert_same_end

app = import_module("alexnet_tk.cli.main").app  # in a checkout it stands elsewhere, which mypy can't follow

SETTINGS = (
    *(each for each in TINY if not each.startswith("network.c1")),
    "network.c1.kernel=5",
    "network.c1.stride=2",
    "network.init=he",
    "preprocess.resize=256",
    "preprocess.std=[60,60,60]",
    "augment.color_epochs=1",
    "augment.group=4",
    "train.batch_size=12",
    "train.epochs=3",
    "train.steps=[2]",
    'train.layer_rates=[["c1",2,0.1],["c1",3,0]]',
)


@pytest.fixture(scope="module")
def packed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "packed"
    pack(pictures, path)
    return path


@pytest.fixture(scope="module")
def whole(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    output = folder / "model.pt"
    train(packed, recipe="krizhevsky-2012", settings=SETTINGS, output=output, device="cpu")
    return folder


@pytest.mark.parametrize("after", [4, 15])
def test_a_run_that_crashed_goes_on(
    packed: Path, whole: Path, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first epoch, and in the third, in which c1 stands still."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    output = tmp_path / "model.pt"
    with pytest.raises(Stop):
        train(
            packed,
            recipe="krizhevsky-2012",
            settings=SETTINGS,
            output=output,
            progress=StoppingLog(after),
            device="cpu",
        )
    resumed = train(packed, output=output, resume=True, device="cpu")
    undisturbed = Checkpoint.load(whole / "model.pt")
    assert_same(resumed, undisturbed)
    assert_same_end(tmp_path, whole)
    measured = open_packed(packed)[1].picture
    for each in (resumed.statistics.picture, undisturbed.statistics.picture, measured):
        assert each is not None and measured is not None
        assert torch.equal(each, measured)


def test_a_file_and_its_checkpoint_are_evaluated_alike(packed: Path, whole: Path, tmp_path: Path) -> None:
    export(whole / "model.pt", tmp_path / "model.onnx")
    file, checkpoint = (
        evaluate(each, packed, crops=10, device="cpu")
        for each in (tmp_path / "model.onnx", whole / "model.pt")
    )
    assert (file.confusion == checkpoint.confusion).all()
    assert file.confusion.sum() == 6


def test_show_prints_what_is_special(whole: Path, tmp_path: Path) -> None:
    export(whole / "model.pt", tmp_path / "model.onnx")
    for path, lines in (
        (
            whole / "model.pt",
            [
                'network.c1.then = ["lrn", "pool", "relu"]',
                "network.c1.padding_after = 3",
                'network.dropout_scale = "prediction"',
                'preprocess.mean = "picture"',
                "statistics.picture = [256, 256, 3]",
                "augment.color_divisor = 1.1",
                'train.bias_schedule = "constant"',
                'train.layer_rates = [["c1", 2, 0.1], ["c1", 3, 0.0]]',
            ],
        ),
        (
            tmp_path / "model.onnx",
            ['network.c2.then = ["relu", "lrn", "spatial", "pool"]', "preprocess.mean_picture = true"],
        ),
    ):
        printed = CliRunner().invoke(app, ["show", str(path)]).stdout.splitlines()
        assert not set(lines) - set(printed)


def test_a_layer_with_a_rate_of_0_stands_still(packed: Path, whole: Path, tmp_path: Path) -> None:
    """c1 does in the third epoch, from its first step on; nothing else does."""
    settings = (*SETTINGS, "train.epochs=2")
    train(packed, recipe="krizhevsky-2012", settings=settings, output=tmp_path / "model.pt", device="cpu")
    after_2, after_3 = (
        Run.load(RunFolder(each / "model.pt").last)[1]["weights"] for each in (tmp_path, whole)
    )
    for name, weight in after_3.items():
        assert torch.equal(weight, after_2[name]) == name.startswith("c1.")


def test_other_weights_are_a_beginning(packed: Path, whole: Path, tmp_path: Path) -> None:
    """`--init` from one without a mean picture; what dropout halves here has weights twice as large."""
    plain = [each for each in SETTINGS if not each.startswith(("augment", "train.steps", "train.layer"))]
    settings = (*plain, "train.epochs=1")
    train(packed, recipe="own-pictures", settings=settings, output=tmp_path / "other.pt", device="cpu")
    found = train(
        packed,
        recipe="krizhevsky-2012",
        settings=(*SETTINGS, "train.epochs=1", "train.lr=1e-12", "train.bias_lr=1e-6"),
        initial=tmp_path / "other.pt",
        output=tmp_path / "model.pt",
        device="cpu",
    )
    assert found.statistics.picture is not None
    for name, weight in Checkpoint.load(tmp_path / "other.pt").weights.items():
        halved = name in ("f7.weight", "f8.weight")
        torch.testing.assert_close(found.weights[name], 2 * weight if halved else weight)
