"""A session of OpenVINO on the processor, with the few methods of ONNX Runtime's that are used here."""

import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.choices import Arithmetic, Math
from alexnet_tk.errors import DeviceError, MissingExtraError, ModelError
from alexnet_tk.inference.runtime import own_metadata, reason
from alexnet_tk.machine import usable_cores

# The forms of a file, precision and LRN, in which it was measured to be faster than ONNX Runtime on a CPU of
# one of these kinds: docs/benchmarks.md.
FASTER = {
    ("fp32", "native"),
    ("fp32", "decomposed"),
    ("fp16", "native"),
    ("fp16", "decomposed"),
    ("int8", "native"),
    ("int8", "decomposed"),
}
MEASURED_ON = ("x86_64", "AMD64")
# Bytes of a file. It takes 0.12 s longer to open, which networks as small as the built-in one don't make good
# for in some thousand pictures.
SMALLEST = 5_000_000
SHAPES = 4  # that have a network of their own: each holds the weights once more
NARROW = 256  # units of a fully connected layer, up to which OpenVINO fuses it with those around it
# ONNX Runtime's names for the types that have another one here.
TYPES = {"u8": "uint8", "f16": "float16", "f32": "float", "f64": "double", "i32": "int32", "i64": "int64"}


_LOADING = Lock()


@dataclass(frozen=True)
class Value:
    """An input or an output of a network, in ONNX Runtime's words."""

    name: str
    type: str
    shape: list[int | str]


@dataclass(frozen=True)
class ModelMetadata:
    """What a file says of itself."""

    custom_metadata_map: Mapping[str, str]


class _Compiled:
    """A network compiled for one shape of its input, or for any, and its idle requests."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def run(self, outputs: list[str], inputs: dict[str, Any]) -> list[Any]:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._network.create_infer_request()
        answers = request.infer(inputs, share_inputs=True, share_outputs=True)
        found = [answers[each].copy() for each in outputs]
        self._idle.put(request)
        return found


class OpenVinoSession:
    """An ONNX file on the processor: as many runs at once as there are usable cores, each on one of them.

    For `latency` it is one run at a time, on all of them.

    A network is compiled for a shape when that is first seen. After `SHAPES` of them, one more is compiled
    that takes any, and is some percent slower.

    Raises
    ------
    ModelError
        no ONNX file, or one that OpenVINO can't compute
    DeviceError, MissingExtraError
        OpenVINO can't be loaded, or is not installed

    """

    def __init__(self, path: Path, math: Math = "exact", latency: bool = False) -> None:
        self._core, frontend, has_bfloat16 = _load()
        try:
            # `Core.read_model` would try the formats of other frameworks, too.
            self._model = frontend.convert(frontend.load(path))
            self._inputs = [_value(each) for each in self._model.inputs]
            self._outputs = [_value(each) for each in self._model.outputs]
        except Exception as error:  # its exceptions share no class of their own
            raise ModelError(
                f"{path} can't be opened as an ONNX file: {reason(error)}; `alexnet-tk export` makes one"
            ) from error
        if not self._inputs:
            raise ModelError(f"{path} holds no network; `alexnet-tk export` makes one")
        # For what is left of float32 in an int8 file, bfloat16 was measured to be no faster.
        gains = has_bfloat16 and own_metadata(self).get("precision") != '"int8"'
        self.arithmetic: Arithmetic = "bf16" if math == "fast" and gains else "exact"
        self._cores = usable_cores()
        self._runs = 1 if latency else self._cores
        self._fuses = not _has_narrow_integers(self._model)
        self._compiled: dict[tuple[int, ...] | None, _Compiled] = {}
        self._compiling = Lock()

    def get_inputs(self) -> list[Value]:
        """What it takes."""
        return self._inputs

    def get_outputs(self) -> list[Value]:
        """What it gives."""
        return self._outputs

    def get_modelmeta(self) -> ModelMetadata:
        """What the file says of itself."""
        key = ["framework"]
        return ModelMetadata(self._model.get_rt_info(key).value if self._model.has_rt_info(key) else {})

    def run(self, outputs: list[str], inputs: dict[str, NDArray[Any]], /) -> list[Any]:
        """An array for each output, given one input."""
        (given,) = inputs.values()
        return self._for(given.shape).run(outputs, inputs)

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Compile for an input of this shape now, and not when the first one comes."""
        self._for(shape)

    def _for(self, shape: tuple[int, ...]) -> _Compiled:
        """The network for inputs of this shape."""
        with self._compiling:
            if shape not in self._compiled and len(self._compiled) < SHAPES:
                self._compiled[shape] = self._compile(shape)
            elif shape not in self._compiled and None not in self._compiled:
                self._compiled[None] = self._compile(self._inputs[0].shape)
            return self._compiled.get(shape) or self._compiled[None]

    def _compile(self, shape: Any) -> _Compiled:
        self._model.reshape([each if isinstance(each, int) else -1 for each in shape])
        settings = {
            # Left to itself it computes float32 in bfloat16 on processors that have it.
            "INFERENCE_PRECISION_HINT": "bf16" if self.arithmetic == "bf16" else "f32",
            "NUM_STREAMS": self._runs,
            "INFERENCE_NUM_THREADS": self._cores,
            "ENABLE_HYPER_THREADING": True,  # `usable_cores` counts threads of the processor
            "ENABLE_CPU_PINNING": False,  # the workers that decode share the cores with it
        }
        if not self._fuses:
            settings["SNIPPETS_MODE"] = "DISABLE"
        return _Compiled(self._core.compile_model(self._model, "CPU", settings))


def can_be_faster() -> bool:
    """Whether it was measured on such a processor."""
    return platform.machine() in MEASURED_ON


def _has_narrow_integers(model: Any) -> bool:
    """Whether there are integers, and a fully connected layer of few units that another one follows.

    OpenVINO 2026.4 fuses such layers, and its answers for fewer than 16 pictures were then far off.
    """
    kinds: dict[str, list[Any]] = {}
    for each in model.get_ordered_ops():
        kinds.setdefault(each.get_type_name(), []).append(each)
    shapes = [each.get_output_partial_shape(0) for each in kinds.get("MatMul", [])[:-1]]
    units = [shape[len(shape) - 1] for shape in shapes if shape.rank.is_static and len(shape)]
    return "FakeQuantize" in kinds and any(each.is_dynamic or each.get_length() <= NARROW for each in units)


def open_where_faster(path: Path, math: Math, latency: bool = False) -> OpenVinoSession:
    """As `OpenVinoSession`, and raises `DeviceError` where ONNX Runtime is not known to be slower."""
    if not can_be_faster():
        raise DeviceError(f"OpenVINO was not measured on {platform.machine()}")
    if path.stat().st_size < SMALLEST and find_spec("openvino") is not None:
        raise DeviceError("OpenVINO takes longer to open than it gains with so small a network")
    session = OpenVinoSession(path, math, latency)
    own = own_metadata(session)
    form = tuple(own.get(key, "").strip('"') for key in ("precision", "lrn"))
    if form not in FASTER:
        raise DeviceError("OpenVINO was not measured with such files")
    return session


def _load() -> tuple[Any, Any, bool]:
    """OpenVINO's core, its reader of ONNX files, and whether the processor computes in bfloat16."""
    try:
        with _LOADING:
            core, _, reader = _loaded()
            # The first word to the CPU's library, which is loaded now.
            capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return core, reader, "BF16" in capabilities
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error) or DeviceError(f"OpenVINO can't be loaded: {error}") from error
    except (ImportError, RuntimeError, AttributeError) as error:  # AttributeError: of an old release
        raise DeviceError(f"OpenVINO can't be loaded: {reason(error)}") from error


@cache
def _loaded() -> tuple[Any, Any, Any]:
    """OpenVINO's core, the manager of its readers and the reader of ONNX files, as long as the process lives.

    They hold libraries that networks use until they are freed: with a core for each session, every other
    process that had opened a dozen of them crashed.
    """
    with _without_reports():
        import openvino
        from openvino.frontend import FrontEndManager

        # It makes its table of numpy's types when it first meets one, and two threads at once would wait
        # for each other for ever.
        _ = openvino.Tensor(np.zeros(1, np.uint8)).data
    manager = FrontEndManager()
    return openvino.Core(), manager, manager.load_by_framework("onnx")


@contextmanager
def _without_reports() -> Iterator[None]:
    """Hides the package by which openvino, if it finds it when it is imported, reports its use to Intel."""
    name = "openvino_telemetry"
    missing = object()
    before: Any = sys.modules.get(name, missing)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not missing:
            sys.modules[name] = before


def _value(port: Any) -> Value:
    kind, sides = port.get_element_type().get_type_name(), port.get_partial_shape()
    shape = [] if sides.rank.is_dynamic else [each.get_length() if each.is_static else "?" for each in sides]
    return Value(port.get_any_name(), f"tensor({TYPES.get(kind, kind)})", shape)
