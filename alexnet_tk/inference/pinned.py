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
        self._free: SimpleQueue[tuple[NDArray[Any], NDArray[Any]]] = SimpleQueue()

    def run(self, outputs: list[str], inputs: dict[str, Any], /) -> list[Any]:
        """As the session's own, for one input and one output (batch, n)."""
        (output,), ((name, given),) = outputs, inputs.items()
        shape = (len(given), *self._outputs[output].shape[1:])
        x, y = self._arrays(given, shape, TYPES[self._outputs[output].type])
        np.copyto(x, given)
        feeds, fetches = native.OrtValueVector(), native.OrtValueVector()
        for values, array in ((feeds, x), (fetches, y)):
            values.push_back(ort.OrtValue.ortvalue_from_numpy(array)._ortvalue)
        cpu = native.OrtDevice(native.OrtDevice.cpu(), native.OrtDevice.default_memory(), 0)
        self.session.run_with_ortvaluevector(ort.RunOptions(), [name], feeds, [output], fetches, [cpu])
        answers = y.copy()
        self._free.put((x, y))
        return [answers]

    def _arrays(
        self, given: NDArray[Any], shape: tuple[int, ...], dtype: Any
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Those of an earlier run that fit, or new ones."""
        try:
            x, y = self._free.get_nowait()
        except Empty:
            pass
        else:
            if (x.shape, x.dtype, y.shape) == (given.shape, given.dtype, shape):
                return x, y
        return self._registered(given.shape, given.dtype), self._registered(shape, dtype)

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
