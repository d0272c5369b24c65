"""From a checkpoint to an ONNX graph that includes the preprocessing: pictures in, probabilities out."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import onnx
import torch

from alexnet_tk.choices import InputKind, LrnForm, Precision
from alexnet_tk.errors import ExportError
from alexnet_tk.exporting.explanation import add_explanation
from alexnet_tk.exporting.lrn import translation_table
from alexnet_tk.geometry import Network, Stages
from alexnet_tk.inference.model import FEATURES_NAME, INPUT_NAME, OUTPUT_NAME
from alexnet_tk.network.classifier import TensorClassifier
from alexnet_tk.training.checkpoint import Checkpoint

OPSET = 18


@dataclass(frozen=True)
class Variant:
    """The choices that `export` offers for a file."""

    precision: Precision = "fp32"
    lrn: LrnForm = "native"
    input: InputKind = "uint8"
    features: bool = False
    explain: bool = False


def build_graph(checkpoint: Checkpoint, variant: Variant) -> onnx.ModelProto:
    """The checkpoint's graph; for "int8" the one in float32, which is quantised afterwards.

    Input: `image`, uint8 (batch, S, S, 3) or float32 (batch, 3, S, S).
    Output: `probabilities`, float32 (batch, classes).
    Outputs where they are asked for: `features`, float32 (batch, units of the last hidden layer), and
    `explanation`, float32 (batch, side of pool5's maps, the same).

    Raises
    ------
    ExportError
        the graph is too large for one file

    """
    size = checkpoint.recipe.network.image_size
    of_pictures = checkpoint.classifier()
    of_pictures.alexnet.network = _relu_first(checkpoint.recipe.network)
    classifier: TensorClassifier = of_pictures
    pictures = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    if variant.input == "float":
        classifier = of_pictures.of_tensors().eval()
        pictures = torch.zeros(2, 3, size, size)
    if variant.precision == "fp16":
        classifier.alexnet.half()
    # The exporter reports its steps, a missing torchvision and its own deprecations.
    with silenced("torch.onnx"):
        program = torch.onnx.export(
            classifier,
            (pictures,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            custom_translation_table=translation_table(variant.lrn),
        )
    assert program is not None
    model = program.model_proto
    _remove_origins(model)
    if variant.features:
        add_features(model)
    if variant.explain:
        add_explanation(model, checkpoint.recipe.network)
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise ExportError(
            "the network is larger than 2 GB, more than one ONNX file can hold; use a smaller network.hidden"
        )
    return model


def add_features(model: onnx.ModelProto) -> None:
    """Make what f8 reads, the last hidden layer's activations after ReLU, a second output in float32."""
    weight = next(each for each in model.graph.initializer if each.name == "alexnet.f8.weight")
    f8 = next(node for node in model.graph.node if weight.name in node.input)
    float32 = onnx.TensorProto.FLOAT
    model.graph.node.append(
        onnx.helper.make_node("Cast", f8.input[:1], [FEATURES_NAME], name="node_features", to=float32)
    )
    shape = [model.graph.output[0].type.tensor_type.shape.dim[0].dim_param, weight.dims[1]]
    model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES_NAME, float32, shape))


def _relu_first(network: Network) -> Network:
    """The network with every ReLU before the pooling that it follows, which gives the same values.

    OpenCV reads a MaxPool of an int8 file only where integers follow it at once.
    """

    def swapped(then: Stages) -> Stages:
        place = then.index("relu")
        if then[place - 1 : place] != ("pool",):
            return then
        return (*then[: place - 1], "relu", "pool", *then[place + 1 :])

    c1, c2 = network.c1, network.c2
    return replace(network, c1=replace(c1, then=swapped(c1.then)), c2=replace(c2, then=swapped(c2.then)))


def _remove_origins(model: onnx.ModelProto) -> None:
    """Delete the exporter's notes on every node: stack traces with the paths of the machine it ran on."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    # quantize_dynamic of ONNX Runtime takes shapes that are written down for weights for those of its own.
    weights = {each.name for each in model.graph.initializer}
    kept = [each for each in model.graph.value_info if each.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    del model.graph.metadata_props[:]


@contextmanager
def silenced(logger_name: str) -> Iterator[None]:
    """Suppress what a library logs below the level of errors, and all warnings."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
