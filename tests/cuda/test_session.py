"""ONNX Runtime's CUDA provider on stand-ins for CUDA: what opens, how it computes, what faults say."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from alexnet_tk import zoo
from alexnet_tk.exporting import export
from alexnet_tk.training.checkpoint import Checkpoint
from tests.exporting.graphs import shared_graphs

pytestmark = pytest.mark.slow

Look = Callable[..., Any]
PRECISIONS: tuple[Any, ...] = ("fp32", "fp16")
LRNS: tuple[Any, ...] = ("native", "decomposed")
INPUTS: tuple[Any, ...] = ("uint8", "float")
FORMS = list(product(PRECISIONS, LRNS, INPUTS))
CUDA = "CUDAExecutionProvider"
ON_CPU = r"(cpu|openvino) \("  # where "auto" goes without CUDA
TF32 = "cublasSetMathMode 3"  # CUBLAS_TF32_TENSOR_OP_MATH


@pytest.fixture(scope="module", autouse=True)
def _shared_graphs() -> Iterator[None]:
    with shared_graphs():
        yield


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one picture, on which exported files are verified soon."""
    folder = tmp_path_factory.mktemp("picture")
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    return folder


@pytest.fixture(scope="module")
def int8(fashion_mini: Path, picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("int8") / "int8.onnx"
    export(fashion_mini, file, precision="int8", calibrate=picture)
    return file


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_every_node_of_every_form_is_on_cuda(
    form: tuple[Any, Any, Any], fashion_mini: Path, picture: Path, tmp_path: Path, look: Look
) -> None:
    precision, lrn, input = form
    file = tmp_path / "form.onnx"
    export(fashion_mini, file, precision=precision, lrn=lrn, input=input, verify_on=picture)
    seen = look(file)
    assert seen.error == ""
    assert list(seen.nodes) == [CUDA]
    assert seen.nodes[CUDA].count("Conv") == (5 if lrn == "native" else 7)
    assert seen.arithmetic == ("exact" if precision == "fp32" else "tf32")


def test_a_network_with_an_alpha_of_zero_opens(
    fashion_mini: Path, picture: Path, tmp_path: Path, look: Look
) -> None:
    checkpoint = Checkpoint.load(fashion_mini)
    recipe = checkpoint.recipe.override("network.lrn.alpha=0")
    replace(checkpoint, recipe=recipe).save(tmp_path / "zero.pt")
    export(tmp_path / "zero.pt", verify_on=picture)
    seen = look(tmp_path / "zero.onnx")
    assert (seen.error, list(seen.nodes)) == ("", [CUDA])


class TestArithmetic:
    def test_exact_arithmetic_asks_for_no_tf32(self, look: Look) -> None:
        seen = look(zoo.built_in_model())
        assert seen.device == "cuda:0 (asked for; exact arithmetic)"
        assert "cublasSgemm_v2" in seen.calls
        assert TF32 not in seen.calls

    def test_fast_arithmetic_does(self, look: Look) -> None:
        seen = look(zoo.built_in_model(), math="fast")
        assert seen.device == "cuda:0 (asked for; tf32 arithmetic)"
        assert TF32 in seen.calls

    def test_exact_arithmetic_is_refused_where_cudnn_has_tensor_cores_only(self, look: Look) -> None:
        """ONNX Runtime would take them all the same, and say so on stderr."""
        seen = look(zoo.built_in_model(), tensor_cores=1)
        assert "exact float32; --math fast" in seen.error
        assert look(zoo.built_in_model(), math="fast", tensor_cores=1).error == ""
        on_cpu = look(zoo.built_in_model(), "auto", tensor_cores=1)
        assert re.match(ON_CPU + "cuDNN can't compute this network in exact float32", on_cpu.device)

    def test_half_precision_may_take_tensor_cores(
        self, fashion_mini: Path, picture: Path, tmp_path: Path, look: Look
    ) -> None:
        export(fashion_mini, tmp_path / "half.onnx", precision="fp16", verify_on=picture)
        assert look(tmp_path / "half.onnx", tensor_cores=1).error == ""

    def test_a_run_waits_twice_at_most_and_copies_no_pageable_memory(self, look: Look) -> None:
        calls = look(zoo.built_in_model(), pictures=8).calls_of_run
        assert len([call for call in calls if "Synchronize" in call]) <= 2
        copies = [call for call in calls if "Memcpy" in call and not call.endswith("within")]
        assert copies == ["cudaMemcpyAsync to device pinned", "cudaMemcpyAsync to host pinned"]

    def test_where_memory_cannot_be_page_locked_it_is_copied_all_the_same(self, look: Look) -> None:
        seen = look(zoo.built_in_model(), pictures=8, unregistered=1)
        assert seen.error == ""
        assert "cudaMemcpyAsync to device pageable" in seen.calls_of_run


class TestFaults:
    @pytest.mark.parametrize(
        ("device", "settings", "words"),
        [
            ("cuda", {"failure": 35}, "the NVIDIA driver is too old"),
            ("cuda", {"failure": 100}, "the driver finds no GPU"),
            ("cuda:3", {}, "there is no cuda:3; the number of GPUs here is 1"),
            ("cuda:2", {"devices": 2}, "there is no cuda:2; the number of GPUs here is 2"),
            ("cuda", {"largest": 1_200_000}, "the GPU has no memory left for the network"),
        ],
    )
    def test_the_true_reason_in_a_line(
        self, device: str, settings: dict[str, int], words: str, look: Look
    ) -> None:
        seen = look(zoo.built_in_model(), device, **settings)
        assert seen.error.startswith(f"--device {device}: {words}")
        assert "\n" not in seen.error
        if device == "cuda":
            assert re.match(ON_CPU + words, look(zoo.built_in_model(), "auto", **settings).device)

    @pytest.mark.parametrize("lrn", LRNS)
    def test_without_cudnn(
        self, lrn: Any, libraries: Path, fashion_mini: Path, picture: Path, tmp_path: Path, look: Look
    ) -> None:
        """An LRN needs it when it is made, and a convolution when it first computes."""
        export(fashion_mini, tmp_path / "model.onnx", lrn=lrn, verify_on=picture)
        seen = look(tmp_path / "model.onnx", folders=(_without(tmp_path, libraries, "libcudnn.so.9"),))
        assert re.search(r"libcudnn\.so(\.9)? can't be found; pip install 'alexnet-tk\[cuda\]'", seen.error)

    def test_a_library_that_lacks_a_symbol(self, libraries: Path, tmp_path: Path, look: Look) -> None:
        (tmp_path / "empty.c").write_text("int nothing;")
        library = tmp_path / "libcublas.so.13"
        subprocess.run(
            ["gcc", "-shared", "-o", library, tmp_path / "empty.c", f"-Wl,-soname,{library.name}"], check=True
        )
        seen = look(zoo.built_in_model(), folders=(tmp_path, libraries))
        assert "libcublas.so.13 lacks cublas" in seen.error

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("libcuda.so.1", "no NVIDIA driver: libcuda.so.1 can't be found"),
            ("libcublasLt.so.13", "libcublasLt.so.13 can't be found; pip install"),
        ],
    )
    def test_a_library_that_is_missing(
        self, name: str, words: str, libraries: Path, tmp_path: Path, look: Look
    ) -> None:
        assert words in look(zoo.built_in_model(), folders=(_without(tmp_path, libraries, name),)).error

    def test_a_file_that_is_no_network_is_at_fault_itself(self, tmp_path: Path, look: Look) -> None:
        (tmp_path / "text.onnx").write_bytes(b"\x08no network")
        assert look(tmp_path / "text.onnx").error.startswith(f"{tmp_path / 'text.onnx'} can't be opened")

    def test_int8(self, int8: Path, look: Look) -> None:
        assert "--device cuda: int8 is for CPUs; export --precision fp16" in look(int8).error
        assert re.match(ON_CPU + "int8 is for CPUs; export --precision fp16", look(int8, "auto").device)

    def test_no_memory_for_a_batch_names_a_smaller_one(self, look: Look) -> None:
        seen = look(zoo.built_in_model(), pictures=512, largest=8_000_000)
        assert seen.error == "cuda:0 has no memory left for 512 pictures at once; try --batch-size 256"


def _without(folder: Path, libraries: Path, name: str) -> Path:
    """A folder with all of the stand-ins but one."""
    others = folder / "others"
    others.mkdir()
    for each in libraries.glob("*.so*"):
        if each.suffix not in (".c", ".map") and each.name != name:
            shutil.copy(each, others)
    return others


class TestModelsFromElsewhere:
    def test_arithmetic_of_shapes_may_stay_on_the_cpu(self, tmp_path: Path, look: Look) -> None:
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["maps"], strides=[32, 32]),
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "zero"], ["batch"]),
            helper.make_node("Concat", ["batch", "rest"], ["flat"], axis=0),
            helper.make_node("Mul", ["flat", "rest"], ["sizes"]),
            helper.make_node("Div", ["sizes", "rest"], ["sides"]),
            helper.make_node("Reshape", ["maps", "sides"], ["rows"]),
            helper.make_node("MatMul", ["rows", "v"], ["y"]),
        ]
        seen = look(_model(tmp_path / "other.onnx", nodes), labels=3)
        assert seen.error == ""
        assert {"Conv", "MatMul"} <= set(seen.nodes[CUDA])
        assert set(seen.nodes["CPUExecutionProvider"]) == {"Gather", "Concat", "Mul", "Div"}

    def test_products_may_not(self, tmp_path: Path, look: Look) -> None:
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["maps"], strides=[32, 32]),
            helper.make_node("Flatten", ["maps"], ["rows"]),
            helper.make_node("Cast", ["rows"], ["integers"], to=TensorProto.INT32),
            helper.make_node("MatMul", ["integers", "i"], ["products"]),
            helper.make_node("Cast", ["products"], ["y"], to=TensorProto.FLOAT),
        ]
        seen = look(_model(tmp_path / "other.onnx", nodes), labels=3)
        assert "no CUDA kernel for MatMul" in seen.error

    def test_integers_are_for_cpus(self, tmp_path: Path, look: Look) -> None:
        nodes = [
            helper.make_node("DequantizeLinear", ["b", "scale"], ["bias"]),
            helper.make_node("Conv", ["x", "w", "bias"], ["maps"], strides=[32, 32]),
            helper.make_node("Flatten", ["maps"], ["rows"]),
            helper.make_node("MatMul", ["rows", "v"], ["y"]),
        ]
        seen = look(_model(tmp_path / "other.onnx", nodes), labels=3)
        assert "int8 is for CPUs" in seen.error


def _model(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    """A classifier of three labels for pictures of 224×224, from the nodes between x and y."""
    random = np.random.default_rng(0)
    constants = {
        "w": random.random((2, 3, 32, 32), np.float32),
        "v": random.random((98, 3), np.float32),
        "i": np.ones((98, 3), np.int32),
        "b": np.array([5, 7], np.int32),
        "scale": np.array(0.5, np.float32),
        "zero": np.array([0]),
        "rest": np.array([98]),
    }
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path
