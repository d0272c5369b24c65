"""The weights and biases with which a network begins."""

from typing import Literal

from alexnet_tk.geometry import LAYERS

# By layer: σ of the weights, and the value of the biases.
InitialValues = dict[str, tuple[float | Literal["he"], float]]

_PAPER: dict[str, tuple[float, float]] = {
    "c1": (0.01, 0.0),
    "c2": (0.01, 1.0),
    "c3": (0.01, 0.0),
    "c4": (0.01, 1.0),
    "c5": (0.01, 1.0),
    "f6": (0.01, 1.0),
    "f7": (0.01, 1.0),
    "f8": (0.01, 0.0),
}
# "paper": section 5. "caffe": the paper's with biases of 0.1, the known cure where biases of 1 leave the loss
# at ln(num_classes). "authors": those of the network whose results the paper reports. "he": σ = sqrt(2 /
# fan-in), He et al. 2015, which starts reliably on little data.
INITIAL_VALUES: dict[str, InitialValues] = {
    "paper": {**_PAPER},
    "caffe": {layer: (sigma, bias / 10) for layer, (sigma, bias) in _PAPER.items()},
    "authors": {**_PAPER, "c3": (0.03, 0.0), "c4": (0.03, 1.0), "c5": (0.03, 1.0)},
    "he": dict.fromkeys(LAYERS, ("he", 0.0)),
}
