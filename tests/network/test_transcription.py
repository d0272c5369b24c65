"""The authors' network, small, against numpy: every layer's output and every gradient of a step."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from alexnet_tk import zoo
from alexnet_tk.network.alexnet import AlexNet
from tests.network import transcription as numpy_of
from tests.network.transcription import Array, Back

NETWORK = (
    zoo.recipe("krizhevsky-2012")
    .override(
        "network.image_size=56",
        "network.channels=[4,8,8,8,4]",
        "network.hidden=[6,6]",
        "network.c1.kernel=5",
        "network.c1.stride=2",
        "network.lrn.alpha=1.5",  # the authors' sums would hardly show; it is divided by 5
        "network.spatial.alpha=0.2",
        "network.spatial.size=3",
    )
    .network
)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_outputs_and_gradients_are_the_formulas(dtype: torch.dtype, near: float) -> None:
    random = np.random.default_rng(0)
    net = AlexNet(NETWORK, 5)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 8
            parameter.copy_(torch.from_numpy(random.normal(0, fan_in**-0.5, tuple(parameter.shape))))
    net = net.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, targets = random.normal(0, 1, (3, 3, 56, 56)), np.array([4, 0, 2])
    masks = random.integers(0, 2, (3, 12)).astype(np.float64)

    outputs: dict[str, torch.Tensor] = {}
    for name in ("c1", "c2", "c3", "c4", "c5", "f6", "f7", "f8"):
        net.get_submodule(name).register_forward_hook(
            lambda layer, inputs, output, name=name: outputs.update({name: output.detach()})
        )
    logits = net(torch.from_numpy(x).to(dtype), torch.from_numpy(masks).to(dtype))
    loss = F.cross_entropy(logits, torch.from_numpy(targets))
    loss.backward()  # type: ignore[no-untyped-call]

    w = {name: parameter.detach().double().numpy() for name, parameter in net.named_parameters()}
    expected: dict[str, Array] = {}
    backs = []

    def layer(name: str, x: Array, *how: int) -> Array:
        compute = numpy_of.convolution if name.startswith("c") else numpy_of.linear
        expected[name], back = compute(x, w[f"{name}.weight"], w[f"{name}.bias"], *how)
        backs.append((name, back))
        return expected[name]

    def stage(result: tuple[Array, Back]) -> Array:
        backs.append(("", result[1]))
        return result[0]

    def lrn(x: Array) -> Array:
        return stage(numpy_of.across_maps(x, 5, 0.3, 0.75, 2.0, 2))

    def pool(x: Array) -> Array:
        return stage(numpy_of.max_pooling(x, 3, 2))

    def relu(x: Array) -> Array:
        return stage(numpy_of.relu(x))

    def pad(x: Array, before: int, after: int) -> Array:
        return stage(numpy_of.padded(x, before, after))

    y = relu(pool(lrn(layer("c1", pad(x, 0, 3), 2, 1))))
    y = lrn(relu(layer("c2", pad(y, 2, 2), 1, 2)))
    y = pool(stage(numpy_of.within_maps(y, 3, 0.2, 0.75, 1.0)))
    y = relu(layer("c3", pad(y, 1, 1), 1, 1))
    y = relu(layer("c4", pad(y, 1, 1), 1, 2))
    y = pool(relu(layer("c5", pad(y, 1, 1), 1, 2)))
    maps = y.shape
    y = stage((y.reshape(3, -1), lambda g: g.reshape(maps)))
    for name, mask in (("f6", masks[:, :6]), ("f7", masks[:, 6:])):
        y = relu(layer(name, y))
        y = stage(numpy_of.masked(y, mask))
    value, gradient = numpy_of.cross_entropy(layer("f8", y), targets)

    assert loss.item() == pytest.approx(value, rel=near)
    for name, output in expected.items():
        np.testing.assert_allclose(outputs[name].double().numpy(), output, rtol=near, atol=near)
    for name, back in reversed(backs):
        if name:
            gradient, *of_parameters = back(gradient)
            for kind, each in zip(("weight", "bias"), of_parameters, strict=True):
                found = net.get_parameter(f"{name}.{kind}").grad
                assert found is not None
                np.testing.assert_allclose(found.double().numpy(), each, rtol=near, atol=near, err_msg=name)
                assert np.abs(each).max() > 1e-4
        else:
            gradient = back(gradient)
