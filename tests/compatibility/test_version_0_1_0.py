"""Files of version 0.1.0 open, resume and answer to the same bytes.

version_0.1.0.zip was made by the code of commit 88a0e09, from 8-bit RGB pictures whose probabilities lie far
from where their sixth digit is rounded, so that another processor writes the same digits:

    pictures/, packed/          what was answered and trained on; packed/ by `pack`
    model.pt, model.onnx        eight epochs on packed/, exported
    last.pt                     the state in which that run ended
    stopped/                    the same run, stopped after its second epoch
    answers/whole.*             complete outputs of `predict pictures/ --topk 2 --batch-size 4`
    answers/half.*              the same, cut off within a record
    answers/half parts.*        an output of `--engine ray` that lacks a part
"""

import shutil
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from alexnet_tk import Classifier, evaluate, export, predict, train
from alexnet_tk.description import describe
from alexnet_tk.errors import OutputError, RecipeError
from alexnet_tk.prediction.parts import Parts, parts
from alexnet_tk.prediction.plan import plan_file
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.checkpoint import Checkpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files, unpacked where the test runs: outputs and runs hold relative paths."""
    with zipfile.ZipFile(Path(__file__).with_name("version_0.1.0.zip")) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_an_output_goes_on_to_the_same_bytes(folder: Path, ending: str) -> None:
    whole = Path(f"answers/whole.{ending}")
    outcome = predict("pictures/", topk=2, output=f"answers/half.{ending}", resume=True, device="cpu")
    assert 0 < outcome.before.answered < 11
    assert (outcome.answered, outcome.failed) == (11, 1)
    assert Path(f"answers/half.{ending}").read_bytes() == whole.read_bytes()
    complete = predict("pictures/", topk=2, output=whole, resume=True, device="cpu")
    assert (complete.now.pictures, complete.answered) == (0, 11)
    predict("pictures/", topk=2, batch_size=4, output=f"answers/new.{ending}", device="cpu")
    assert Path(f"answers/new.{ending}").read_bytes() == whole.read_bytes()


def test_an_output_is_not_mixed_with_another_device(folder: Path) -> None:
    before = Path("answers/half.csv").read_bytes()
    plan = plan_file(Path("answers/half.csv")).read_text()
    plan_file(Path("answers/half.csv")).write_text(plan.replace("{", '{"device": "cuda",', 1))
    with pytest.raises(OutputError, match="made on cuda and this run computes on cpu"):
        predict("pictures/", topk=2, output="answers/half.csv", resume=True, device="cpu")
    assert Path("answers/half.csv").read_bytes() == before


def test_the_parts_of_a_ray_run_go_on(folder: Path) -> None:
    """Without Ray: the missing part is answered here."""
    from alexnet_tk.files import sha256
    from alexnet_tk.inference import find
    from alexnet_tk.prediction.formats import PARQUET
    from alexnet_tk.prediction.plan import Plan

    pictures, classifier = find(["pictures/"]).paths, Classifier("model.onnx", "cpu")
    plan = Plan.of(sha256(Path("model.onnx")), pictures, 2, "parquet parts", 4)
    output = Path("answers/half parts.parquet")
    with parts(output, plan, resume=True) as kept:
        assert isinstance(kept, Parts)
        assert kept.missing() == [1]
        assert (kept.totals().answered, kept.totals().failed) == (7, 1)
        kept.put(1, PARQUET.encode(classifier.classify(kept.cut(pictures, 1), 2, batch_size=4), 2))
    made = Path("answers/parts.parquet")
    assert pq.read_table(output).equals(pq.read_table(made))
    for part in made.glob("part-*.parquet"):
        assert (output / part.name).read_bytes() == part.read_bytes()


def test_a_checkpoint_opens_and_exports(folder: Path) -> None:
    checkpoint = Checkpoint.load(Path("model.pt"))
    assert checkpoint.recipe.preprocess.channel_order == "RGB"
    assert checkpoint.recipe.augment.color_sigma == 0.05
    assert describe(Path("model.pt")).labels == ["blue, or nearly", "green", "red"]
    export("model.pt", "again.onnx")
    paths = [str(each) for each in sorted(Path("pictures").glob("*.png"))]
    old, new = (list(Classifier(name, "cpu").classify(paths, 3)) for name in ("model.onnx", "again.onnx"))
    assert old == new


def test_an_onnx_file_and_a_packed_set_are_evaluated(folder: Path) -> None:
    for model in ("model.onnx", "model.pt"):
        found = evaluate(model, "packed", device="cpu")
        assert (found.pictures, found.top1.fraction) == (6, 1.0)
    assert describe(Path("model.onnx")).facts["preprocess"]["color"] == "RGB", "a published contract"


def test_a_stopped_run_goes_on_to_the_same_weights(folder: Path) -> None:
    shutil.move("stopped", "run")
    best = train("packed", output="run/model.pt", resume=True, device="cpu")
    whole = Checkpoint.load(Path("model.pt"))
    assert best.training["epoch"] == whole.training["epoch"] == 8
    assert best.training["history"][:2] == whole.training["history"][:2]
    for name, weight in best.weights.items():
        torch.testing.assert_close(weight, whole.weights[name], rtol=1e-3, atol=1e-5)
    ours, theirs = (torch.load(path, weights_only=True) for path in ("run/runs/model/last.pt", "last.pt"))
    assert ours.keys() == theirs.keys()
    assert ours["run"].keys() == theirs["run"].keys()
    assert ours["run"]["fingerprint"] == theirs["run"]["fingerprint"]
    for kind in ("weights", "momentum"):
        assert ours["trainer"][kind].keys() == theirs["trainer"][kind].keys()
        for name, weight in ours["trainer"][kind].items():
            torch.testing.assert_close(weight, theirs["trainer"][kind][name], rtol=1e-3, atol=1e-5)


def test_a_recipes_old_keys_are_read(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('[preprocess]\ncolor = "BGR"\n[augment]\ncolor = 0.2\n')
    recipe = Recipe.from_file(file)
    assert (recipe.preprocess.channel_order, recipe.augment.color_sigma) == ("BGR", 0.2)
    again = Recipe().override("preprocess.color=BGR", "augment.color=0.2")
    assert again == recipe
    file.write_text('[preprocess]\ncolor = "BGR"\nchannel_order = "BGR"\n')
    with pytest.raises(RecipeError, match=r"by its old name preprocess\.color"):
        Recipe.from_file(file)
