"""ONNX Runtime: the session of a file, its metadata, its errors in one line, and what it logs."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnxruntime as ort

from alexnet_tk.errors import ModelError

METADATA_PREFIX = "alexnet_tk."  # of the keys of metadata that `export` writes
TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}

SILENT = 4  # severity of a logger that reports fatal errors only: all others are raised, too
ERRORS = 3


def create_session(path: Path, options: ort.SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    """A session that prints nothing and never changes its providers; raises `ModelError`."""
    options.log_severity_level = SILENT
    # ONNX Runtime takes paths in UTF-8 only; a file with another name is handed over as bytes.
    odd = any("\ud800" <= each <= "\udfff" for each in os.fspath(path))
    try:
        # Unless told otherwise, its Python part meets an error by a message on stdout and the CPU.
        return ort.InferenceSession(
            path.read_bytes() if odd else path, options, providers=providers, enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's exceptions share no class of their own
        raise ModelError(
            f"{path} can't be opened as an ONNX file: {reason(error)}; `alexnet-tk export` makes one"
        ) from error


def own_metadata(session: ort.InferenceSession) -> dict[str, str]:
    """The metadata that `export` wrote, each value as JSON, without the prefix; empty for other files."""
    return {
        key.removeprefix(METADATA_PREFIX): value
        for key, value in session.get_modelmeta().custom_metadata_map.items()
        if key.startswith(METADATA_PREFIX)
    }


def reason(error: BaseException) -> str:
    """The line of an ONNX Runtime or OpenVINO error that says most, without places in source code."""
    if re.match(r"Exception from |Check '", str(error)):  # OpenVINO's last line is the one
        return str(error).strip().splitlines()[-1]
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip()
    text = re.sub(r"/\S+:\d+ [^\n]*?[)\]] (?=[A-Za-z/])(?!\[)", " ", text)  # lines of its source code
    text = text.partition(" ; GPU=")[0]  # the machine's name and another line of source code follow
    return text.splitlines()[0] if text else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ONNX Runtime, CUDA, cuBLAS, cuDNN or torch say that memory has run out."""
    return (
        re.search(r"out of memory|failed to allocate|_ALLOC_FAILED|bad_alloc", str(error), re.I) is not None
    )


def _nameless_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except FileNotFoundError:  # no folder for temporary files can be written: nothing is captured
        return Path(os.devnull).open("w+b")


@contextlib.contextmanager
def native_log() -> Iterator[Any]:
    """Capture what native code writes to stderr; the value is a function that returns it afterwards."""
    kept: list[str] = []
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with _nameless_file() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield lambda: kept[0]
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                kept.append(file.read().decode(errors="replace"))
    finally:
        os.close(saved)
