"""Small stand-ins for the pictures, models and recipes that pages use but don't create."""

import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from alexnet_tk import sample
from tests.documents.page import ROOT, Step
from tests.documents.running import run
from tests.training import archived


def write_pictures(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        pixels = random.integers(0, 120, (50, 44, 3), dtype=np.uint8)
        pixels[..., seed % 3] += 120
        Image.fromarray(pixels).save(folder / f"{i}.png")


def write_other_model(path: Path, classes: int) -> None:
    """Write a classifier as another tool might export it: a weighted mean colour."""
    weights = np.linspace(-1, 1, 3 * classes, dtype=np.float32).reshape(3, classes)
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["scores"]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
    ]
    takes = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, 224, 224])
    gives = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])
    graph = helper.make_graph(nodes, "means", [takes], [gives], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def write_unsorted(folder: Path, count: int) -> None:
    """Write validation pictures in one folder and the table of their classes, as Kaggle provides them."""
    rows = ["ImageId,PredictionString"]
    for i in range(1, count + 1):
        picture = folder / "IMAGENET" / "val" / f"ILSVRC2012_val_{i:08}.JPEG"
        Image.new("RGB", (50, 44), (10 * i, 0, 0)).save(picture)
        rows.append(f"{picture.stem},n01440764 1 2 30 40 n01440764 5 6 7 8 ")
    (folder / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def small_sample() -> Iterator[None]:
    """Reduces the built-in pictures to a tenth."""
    whole = sample.pictures
    with pytest.MonkeyPatch.context() as patch:

        def tenth(split: sample.Split) -> Any:
            return tuple(each[::10] for each in whole(split))

        patch.setattr(sample, "pictures", tenth)
        yield


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, small_sample: None) -> Path:
    """A folder with the files and folders that pages use but don't create; every page starts from a copy."""
    folder = tmp_path_factory.mktemp("stand-ins")
    for seed, label in enumerate(("bird", "cat", "dog")):
        write_pictures(folder / "photos" / label, 14, seed)
    shutil.copytree(folder / "photos", folder / "DATA")
    shutil.copytree(folder / "photos" / "cat", folder / "holiday")
    for seed, wnid in enumerate(("n01440764", "n01443537")):
        write_pictures(folder / "IMAGENET" / "train" / wnid, 12, seed)
        write_pictures(folder / "IMAGENET" / "val" / wnid, 4, seed)
    write_unsorted(folder, 2)
    archived.write_archives(folder)
    archived.write_devkit(folder / "ILSVRC2012_devkit_t12.tar.gz")
    shutil.make_archive(str(folder / "photos"), "zip", folder, "photos")
    (folder / "more").mkdir()
    Image.new("RGB", (60, 50), "teal").save(folder / "more" / "IMG_0001.jpg")
    shutil.copy(folder / "photos" / "cat" / "0.png", folder / "picture.png")
    write_other_model(folder / "resnet50.onnx", 10)
    (folder / "imagenet.txt").write_text("\n".join(f"label {i}" for i in range(10)), encoding="utf-8")
    (recipe,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "own-pictures.md").read_text(), re.DOTALL)
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(Step("alexnet-tk train photos/"), folder)
        run(Step("alexnet-tk export model.pt"), folder)
    shutil.copy(folder / "model.pt", folder / "imagenet.pt")
    return folder


@pytest.fixture(autouse=True)
def _restore_signal_handlers() -> Iterator[None]:
    """Undoes what a command that ran in this process has installed."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    hook = threading.excepthook
    yield
    threading.excepthook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)
