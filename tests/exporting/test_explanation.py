"""The output of `export --explain`: its numbers in several runtimes, and what can't have it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from alexnet_tk import sample
from alexnet_tk.errors import ExportError, ModelError, UsageError
from alexnet_tk.exporting import export, verification
from alexnet_tk.exporting.graph import Variant
from alexnet_tk.inference.heat_map import Places
from alexnet_tk.inference.model import EXPLANATION_NAME, FEATURES_NAME, open_model
from alexnet_tk.network.explanation import explanation
from alexnet_tk.training.checkpoint import Checkpoint

Make = Callable[..., Checkpoint]

VARIANTS = [
    Variant(explain=True),
    Variant("fp32", "decomposed", "float", features=True, explain=True),
]


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Tinted, uint8 (40, 96, 96, 3)."""
    random = np.random.default_rng(0)
    grey = np.kron(sample.pictures("val")[0][:40], np.ones((1, 4, 4)))[:, 8:104, 8:104, None]
    return (grey * random.uniform(0.3, 1, (40, 1, 1, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(fashion_mini: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Torch's, with the preprocessing of fashion-mini written out."""
    network = Checkpoint.load(fashion_mini).classifier().alexnet
    mean = sample.pictures("train")[0].mean()
    x = torch.from_numpy((pictures.astype(np.float32) - np.float32(mean)) / np.float32(90))
    found: NDArray[np.float32] = explanation(network, x.permute(0, 3, 1, 2)).numpy()
    assert (found > 0).any(axis=(1, 2)).all()
    return found


@pytest.fixture(scope="module")
def files(fashion_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("explained")
    for number, variant in enumerate(VARIANTS):
        export(fashion_mini, folder / f"{number}.onnx", **asdict(variant))
        onnx.checker.check_model(folder / f"{number}.onnx", full_check=True)
    return [folder / f"{number}.onnx" for number in range(len(VARIANTS))]


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("number", range(len(VARIANTS)))
def test_it_is_torchs(
    device: str,
    number: int,
    files: list[Path],
    fashion_mini: Path,
    pictures: NDArray[np.uint8],
    expected: NDArray[np.float32],
) -> None:
    if device == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    model = open_model(files[number], device)
    assert model.places == Places(31, 32)
    extras = [FEATURES_NAME, EXPLANATION_NAME] if VARIANTS[number].features else [EXPLANATION_NAME]
    for some, wanted in ((pictures, expected), (pictures[:1], expected[:1])):
        probabilities, *_, found = model.run_with(some, *extras)
        assert found.dtype == np.float32
        assert found.shape == wanted.shape == (len(some), 2, 2)
        largest = wanted.max(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(found / largest, wanted / largest, atol=1e-5)
        np.testing.assert_array_equal(probabilities, model.run(some))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_only_float32_has_it(tmp_path: Path, fashion_mini: Path, precision: Any) -> None:
    with pytest.raises(UsageError, match=f"--explain is for --precision fp32, not {precision}"):
        export(fashion_mini, tmp_path / "model.onnx", precision=precision, explain=True)
    assert not any(tmp_path.iterdir())


def test_an_output_that_is_neither_is_refused(tmp_path: Path, files: list[Path]) -> None:
    model = onnx.load(files[0])
    model.graph.node[-1].output[0] = model.graph.output[1].name = "saliency"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"gives 'saliency' \(batch, 2, 2\), .*export it again"):
        open_model(tmp_path / "model.onnx", "cpu")


def test_a_network_that_scales_dropout_in_prediction(tmp_path: Path, make: Make) -> None:
    """The gradient passes the scaling, too."""
    checkpoint = make(tmp_path / "model.pt", "network.dropout_scale=prediction", "network.dropout=0.25")
    export(tmp_path / "model.pt", explain=True)
    pixels = np.random.default_rng(2).integers(0, 256, (8, 40, 40, 3), np.uint8)
    classifier = checkpoint.classifier()
    expected = explanation(classifier.alexnet, classifier.network_input(torch.from_numpy(pixels))).numpy()
    _, found = open_model(tmp_path / "model.onnx", "cpu").run_with(pixels, EXPLANATION_NAME)
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_a_map_of_the_papers_size(tmp_path: Path, make: Make, device: str) -> None:
    """6×6, of pictures of 224×224 through layers that are narrow."""
    if device == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    c1 = "network.c1={kernel=11,stride=4,padding=2}"
    checkpoint = make(tmp_path / "model.pt", "network.image_size=224", "preprocess.resize=256", c1)
    export(tmp_path / "model.pt", lrn="decomposed", explain=True)
    pixels = np.random.default_rng(3).integers(0, 256, (4, 7, 7, 3), np.uint8).repeat(32, 1).repeat(32, 2)
    classifier = checkpoint.classifier()
    expected = explanation(classifier.alexnet, classifier.network_input(torch.from_numpy(pixels))).numpy()
    _, found = open_model(tmp_path / "model.onnx", device).run_with(pixels, EXPLANATION_NAME)
    assert found.shape == expected.shape == (4, 6, 6)
    largest = expected.max(axis=(1, 2), keepdims=True)
    assert (largest > 0).all()
    np.testing.assert_allclose(found / largest, expected / largest, atol=1e-5)


def test_export_compares_it(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "model.pt")
    found = export(tmp_path / "model.pt", explain=True)
    assert found.feature_difference is None
    assert found.explanation_difference is not None
    assert 0 < found.explanation_difference < 1e-4
    assert f"largest relative difference of explanations {found.explanation_difference:.1e}" in str(found)
    (tmp_path / "model.onnx").unlink()
    monkeypatch.setattr(verification, "explanation", lambda network, x: 1.1 * explanation(network, x))
    with pytest.raises(ExportError, match="the explanations of ONNX Runtime and torch differ"):
        export(tmp_path / "model.pt", explain=True)
    assert not (tmp_path / "model.onnx").exists()


def test_towers_that_do_not_talk_are_refused(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "model.pt", "network.talk=false")
    with pytest.raises(UsageError, match="towers that read each other"):
        export(tmp_path / "model.pt", explain=True)
    assert not (tmp_path / "model.onnx").exists()
