"""The LRN kernels for CUDA, without CUDA: in Triton's interpreter, compiled, traced and exported."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from alexnet_tk.exporting.graph import Variant, build_graph
from alexnet_tk.geometry import LRN
from alexnet_tk.network import alexnet, lrn
from alexnet_tk.training.checkpoint import Checkpoint
from tests.network.formula import gradient, normalised

triton = pytest.importorskip("triton", reason="Triton is not installed")
ROOT = Path(__file__).parent.parent.parent

# Shape, n, α, β, k, towers. A program takes 16 pixels of 96 maps; 45 pixels are not a multiple, and 260 maps
# are more than the network has.
CASES = {
    "c1": ((1, 96, 5, 9), 5, 1e-4, 0.75, 2.0, 2),
    "c2": ((2, 256, 3, 3), 5, 1e-2, 0.75, 2.0, 2),
    "across towers": ((2, 96, 2, 3), 5, 1e-2, 0.75, 2.0, 1),
    "many maps": ((1, 260, 1, 3), 3, 1e-2, 0.75, 1.0, 2),
    "other power": ((2, 10, 4, 3), 3, 0.5, 0.6, 1.0, 1),
    "odd count": ((3, 21, 2, 2), 7, 1e-2, 1.0, 2.0, 3),
    "window wider than a tower": ((1, 6, 2, 2), 11, 1e-2, 0.75, 2.0, 2),
    "no neighbours": ((1, 8, 2, 2), 1, 1e-2, 0.75, 2.0, 2),
    "alpha 0": ((1, 8, 2, 2), 5, 0.0, 0.75, 2.0, 2),
    "one map": ((1, 1, 3, 3), 5, 1e-2, 0.75, 2.0, 1),
    "no pictures": ((0, 8, 2, 2), 5, 1e-2, 0.75, 2.0, 2),
}
# Relative to the largest value; half precision rounds only its results.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, torch.dtype], Any]:
    """Input, gradient of the output, constants, output and gradient of the input for each case and dtype."""
    folder = tmp_path_factory.mktemp("interpreted")
    generator = torch.Generator().manual_seed(0)
    cases = {}
    for name, (shape, *constants) in CASES.items():
        for i, dtype in enumerate(TOLERANCES):
            # 400² is infinite in float16.
            x = (torch.randn(shape, generator=generator) * 30).clamp(-400, 400)
            grad = torch.randn(shape, generator=generator)
            if x.numel():
                x[0, -1, 0, 0] = 400
            layout = torch.channels_last if i % 2 else torch.contiguous_format
            x, grad = (each.to(dtype).contiguous(memory_format=layout) for each in (x, grad))
            cases[name, dtype] = (x, grad, *constants)
    torch.save(list(cases.values()), folder / "cases.pt")
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            ROOT / "tests/network/interpreted_lrn.py",
            folder / "cases.pt",
            folder / "results.pt",
        ],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = torch.load(folder / "results.pt", weights_only=True)
    return {key: (case, result) for (key, case), result in zip(cases.items(), results, strict=True)}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_the_kernels_are_the_printed_formula(
    computed: dict[tuple[str, torch.dtype], Any], name: str, dtype: torch.dtype
) -> None:
    (x, grad, *constants), (y, dx) = computed[name, dtype]
    a, g = x.double().numpy(), grad.double().numpy()
    for result, expected in ((y, normalised(a, *constants)), (dx, gradient(a, g, *constants))):
        assert result.dtype == dtype
        assert result.is_contiguous(memory_format=torch.channels_last)
        scale = np.abs(expected).max(initial=1e-30)
        np.testing.assert_allclose(result.double().numpy() / scale, expected / scale, atol=TOLERANCES[dtype])


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Tensor]]:
    """The fused operator, chosen for every tensor, with a driver that names a GPU and can launch nothing."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    from alexnet_tk.network.lrn_triton import fused_local_response_norm

    class Driver:
        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 90, 32)

    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # unset, Triton warns of a change of its default
    monkeypatch.setattr(alexnet, "operator_for", lambda x: fused_local_response_norm)
    monkeypatch.setattr(type(driver), "active", Driver())
    yield fused_local_response_norm
    torch.compiler.reset()


def test_torch_compile_sees_the_kernels(fused: Callable[..., Tensor]) -> None:
    """Both graphs hold Triton's operator and not an opaque one, and only the result is written to."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    graphs = []

    def compiler(graph: Any, example: Any) -> Any:
        graphs.append(graph)
        (outputs,) = graph.graph.output_node().args
        values = [getattr(each, "meta", {}).get("val") for each in outputs]
        return make_boxed_func(lambda *_: [v if v is None else empty_like(v) for v in values])

    def empty_like(fake: Tensor) -> Tensor:
        return torch.empty_strided(fake.shape, fake.stride(), dtype=fake.dtype)

    layer = alexnet.LocalResponseNorm(LRN(), 2)
    backend = aot_autograd(fw_compiler=compiler, bw_compiler=compiler)
    x = torch.randn(2, 8, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.compile(layer, backend=backend, fullgraph=True)(x).sum().backward()
    assert len(graphs) == 2
    for graph, written in zip(graphs, ("y_ptr", "dx_ptr"), strict=True):
        targets = {str(node.target): node for node in graph.graph.nodes}
        assert not [each for each in targets if "alexnet_tk" in each]
        assert targets["triton_kernel_wrapper_functional"].kwargs["tensors_to_clone"] == [written]


@pytest.mark.parametrize(("form", "count"), [("native", 2), ("decomposed", 0)])
def test_the_fused_operator_exports_as_the_plain_one_does(
    tmp_path: Path, fused_network: Checkpoint, fused: Callable[..., Tensor], form: Any, count: int
) -> None:
    model = build_graph(fused_network, Variant(lrn=form))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("LRN") == count
    assert {each.domain for each in model.opset_import} == {""}
    onnx.checker.check_model(model, full_check=True)


@pytest.fixture
def fused_network(tiny: tuple[str, ...]) -> Checkpoint:
    """A tiny network as a checkpoint."""
    from alexnet_tk.recipe import Recipe
    from alexnet_tk.training.statistics import Statistics

    recipe = Recipe().override(*tiny)
    net = alexnet.AlexNet(recipe.network, 7)
    net.initialise(0)
    statistics = Statistics.from_lists([110, 120, 130], [1, 2, 3], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return Checkpoint(recipe, [str(i) for i in range(7)], statistics, net.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("capability", [75, 90])
def test_the_kernels_compile_for_gpus(capability: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To machine code, by the compiler that Triton contains, for the full network's maps."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from alexnet_tk.network import lrn_triton

    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    for kernel in (lrn_triton._forward, lrn_triton._backward):
        for dtype, maps, beta in (("fp32", 96, 0.75), ("fp16", 256, 0.75), ("bf16", 96, 0.6)):
            constants = lrn_triton._constants(maps, 5, 1e-4, beta, 2.0, 2)
            names = kernel.arg_names
            signature = dict.fromkeys(names, "constexpr") | {"pixels": "i32"}
            signature |= {each: f"*{dtype}" for each in names if each.endswith("_ptr")}
            values = {(names.index(each),): value for each, value in constants.items()}
            compiled = triton.compile(
                ASTSource(kernel, signature, values), target=GPUTarget("cuda", capability, 32)
            )
            assert compiled.asm["cubin"]


@pytest.fixture
def _fresh() -> Iterator[None]:
    """`why_no_kernel` has not looked yet, and forgets what it found in the test."""
    lrn.why_no_kernel.cache_clear()
    yield
    lrn.why_no_kernel.cache_clear()


class OnCuda:
    """Stands for a tensor on CUDA."""

    is_cuda = True


@pytest.mark.usefixtures("_fresh")
def test_where_triton_does_not_work_the_plain_form_computes_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from alexnet_tk.network import lrn_triton

    def no_compiler(*_: Any) -> Tensor:
        raise RuntimeError("Failed to find C compiler.\nPlease specify")

    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    monkeypatch.setattr(lrn_triton, "fused_local_response_norm", no_compiler)
    x: Any = OnCuda()
    with pytest.warns(
        UserWarning, match=r"slower \(Failed to find C compiler\.\); Triton needs a C compiler"
    ):
        assert lrn.operator_for(x) is lrn.local_response_norm
    assert lrn.operator_for(x) is lrn.local_response_norm


@pytest.mark.usefixtures("_fresh")
def test_where_triton_works_cuda_takes_the_kernels_and_the_cpu_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Traced and fake tensors take them as an operator, which the graph names."""
    from alexnet_tk.network import lrn_triton

    def works(*_: Any) -> None:
        return None

    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    monkeypatch.setattr(lrn_triton, "fused_local_response_norm", works)
    x: Any = OnCuda()
    assert lrn.operator_for(x).__name__ == "works"
    monkeypatch.setattr(lrn, "Tensor", OnCuda)
    assert lrn.operator_for(x) is lrn_triton.launched_local_response_norm
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert lrn.operator_for(x).__name__ == "works"
    assert lrn.operator_for(torch.empty(1, 1, 1, 1)) is lrn.local_response_norm
