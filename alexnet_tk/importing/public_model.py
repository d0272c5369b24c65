"""What an import reads: the supported files, and what each of them holds."""

from dataclasses import dataclass

from torch import Tensor

from alexnet_tk.recipe import Recipe

SUPPORTED_FILES = (
    "torchvision's alexnet-owt-*.pth, or bvlcalexnet-*.onnx and caffenet-*.onnx of the ONNX model zoo"
)


@dataclass(frozen=True)
class PublicModel:
    """A trained network from elsewhere."""

    name: str  # of its folder in models/
    recipe: Recipe
    weights: dict[str, Tensor]  # the canonical c1 … f8, float32; their shapes are not checked yet
