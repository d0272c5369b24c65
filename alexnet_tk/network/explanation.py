"""What an answer rests on: where in the picture its score comes from."""

from math import isqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.network.alexnet import AlexNet


def explanation(network: AlexNet, x: Tensor) -> Tensor:
    """The map of each picture's most probable answer, (N, 6, 6), of normalised pictures (N, 3, S, S).

    ReLU of the sum over pool5's maps of activation times gradient, which is that of the most probable class's
    logit (HiResCAM: Draelos and Carin, 2020). `export --explain` computes the same in the ONNX file.
    """
    channels = network.network.channels[-1]
    with torch.inference_mode(False):
        with torch.no_grad():
            pooled = network.pooled_maps(x.clone())
        with torch.enable_grad():
            pooled.requires_grad_()
            logits = network.head(network.hidden(pooled))
            (gradient,) = torch.autograd.grad(logits.max(dim=1).values.sum(), pooled)
    products = (pooled.detach() * gradient).view(len(x), channels, -1)  # (N, 256, 36)
    side = isqrt(products.shape[2])
    return F.relu(products.sum(dim=1)).view(len(x), side, side)
