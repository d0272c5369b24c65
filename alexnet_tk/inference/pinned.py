"""Runs of a session on CUDA that copy from and to page-locked memory.

CUDA copies pageable memory through a buffer of its driver, while the thread waits; page-locked memory is
copied by the device. ONNX Runtime offers no such memory for its own CUDA provider, so arrays of numpy are
registered with CUDA's runtime. They are given to ONNX Runtime as values and not through IOBinding, which
copies inputs while they are bound, before it is known on which stream they will be read.
"""

import ctypes
import sys
import weakref
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import _pybind_state as native

from alexnet_tk.inference.cuda import PROVIDER
from alexnet_tk.inference.runtime import TYPES

PORTABLE = 1  # cudaHostRegisterPortable: page-locked for every GPU


class PinnedSession:
    """A session whose runs go through page-locked arrays, which are reused."""

    def __init__(self, session: ort.InferenceSession, runtime: Any) -> None:
        self.session, self._runtime = session, runtime
        options = session.get_provider_options().get(PROVIDER, {})
        self._gpu = int(options.get("device_id", 0))
        self._outputs = {each.name: each for each in session.get_outputs()}
        self._free: SimpleQueue[list[NDArray[Any]]] = SimpleQueue()

    def run(self, outputs: list[str], inputs: dict[str, Any], /) -> list[Any]:
        """As the session's own, for one input and outputs (batch, n)."""
        ((name, given),) = inputs.items()
        found = [self._outputs[each] for each in outputs]
        shapes = [(len(given), *each.shape[1:]) for each in found]
        types = [np.dtype(TYPES[each.type]) for each in found]
        x, *ys = self._arrays([given.shape, *shapes], [given.dtype, *types])
        np.copyto(x, given)
        cpu = native.OrtDevice(native.OrtDevice.cpu(), native.OrtDevice.default_memory(), 0)
        self.session.run_with_ortvaluevector(
            ort.RunOptions(), [name], _values([x]), outputs, _values(ys), [cpu] * len(ys)
        )
        answers = [each.copy() for each in ys]
        self._free.put([x, *ys])
        return answers

    def _arrays(self, shapes: list[tuple[int, ...]], types: list[np.dtype[Any]]) -> list[NDArray[Any]]:
        """Those of an earlier run if they fit, or new ones."""
        try:
            arrays = self._free.get_nowait()
        except Empty:
            pass
        else:
            if [each.shape for each in arrays] == shapes and [each.dtype for each in arrays] == types:
                return arrays
        return [self._registered(shape, dtype) for shape, dtype in zip(shapes, types, strict=True)]

    def _registered(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array that is page-locked where CUDA can do that, until it is freed."""
        array: NDArray[Any] = np.empty(shape, dtype)
        address = ctypes.c_void_p(array.ctypes.data)
        self._runtime.cudaSetDevice(self._gpu)  # of this thread: else GPU 0 would get a context, too
        if self._runtime.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), PORTABLE) == 0:
            weakref.finalize(array, self._runtime.cudaHostUnregister, address)
        else:
            self._runtime.cudaGetLastError()  # or ONNX Runtime would take it for its own
        return array


def _values(arrays: list[NDArray[Any]]) -> Any:
    """The arrays as ONNX Runtime takes them, without a copy."""
    values = native.OrtValueVector()
    for each in arrays:
        values.push_back(ort.OrtValue.ortvalue_from_numpy(each)._ortvalue)
    return values


def pinned(session: ort.InferenceSession) -> PinnedSession | ort.InferenceSession:
    """The session, whose runs go through page-locked arrays where CUDA's runtime and its output allow it."""
    major = getattr(ort, "cuda_version", "").partition(".")[0]
    name = f"cudart64_{major}.dll" if sys.platform == "win32" else f"libcudart.so.{major}"
    known = all(
        each.type in TYPES and len(each.shape) > 1 and all(isinstance(side, int) for side in each.shape[1:])
        for each in session.get_outputs()
    )
    try:
        return PinnedSession(session, ctypes.CDLL(name)) if known else session
    except OSError:
        return session
