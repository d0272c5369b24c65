"""The network with what is before and after it: from pixels or tensors to probabilities."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_tk.network.alexnet import AlexNet, normalise
from alexnet_tk.preprocess import Preprocess


class TensorClassifier(nn.Module):
    """Normalised pictures, float (N, 3, S, S), to float32 probabilities (N, num_classes).

    The network computes in the precision of its weights; the softmax is float32. `offset`, (1, 3, S, S), is
    subtracted first: what a mean picture has beyond the mean that the pictures are normalised with.
    """

    offset: Tensor | None

    def __init__(self, alexnet: AlexNet, offset: Tensor | None = None) -> None:
        super().__init__()
        self.alexnet = alexnet
        self.register_buffer("offset", offset)

    def forward(self, image: Tensor) -> Tensor:
        """Compute, softmax."""
        return self.with_features(image)[0]

    def with_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities, and f7's activations after ReLU, float32 (N, 4096)."""
        features = self.alexnet.features(self.network_input(image))
        logits = self.alexnet.head(features)
        return F.softmax(logits.float(), dim=1), features.float()

    def network_input(self, image: Tensor) -> Tensor:
        """What the network takes, in the precision of its weights."""
        if self.offset is not None:
            image = image - self.offset
        return image.to(self.alexnet.c1.weight.dtype)


class PictureClassifier(TensorClassifier):
    """What an ONNX file computes: uint8 pictures (N, S, S, 3) to float32 probabilities (N, num_classes).

    Where the preprocessing has a mean picture, `picture` is its centre, float (S, S, 3), 0..255.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, alexnet: AlexNet, preprocess: Preprocess, picture: Tensor | None = None) -> None:
        super().__init__(alexnet)
        self.preprocess = preprocess
        mean = torch.tensor(preprocess.mean) if picture is None else picture.flatten(1)  # (3,) or (S, S·3)
        self.register_buffer("mean", mean)
        self.register_buffer("std", torch.tensor(preprocess.std))

    def network_input(self, image: Tensor) -> Tensor:
        """Normalised pictures, float (N, 3, S, S)."""
        return super().network_input(normalise(image, self.mean, self.std, self.preprocess.channel_order))

    def of_tensors(self) -> TensorClassifier:
        """The same network for pictures that are normalised already, with three numbers for the mean."""
        offset = None
        if self.preprocess.mean_picture:
            size = self.preprocess.crop
            picture = self.mean.view(1, size, size, 3)
            mean = torch.tensor(self.preprocess.mean)
            offset = normalise(picture, mean, self.std, self.preprocess.channel_order)
        return TensorClassifier(self.alexnet, offset)
