"""A build of torch without CUDA, made to compute on fake CUDA tensors; this process then does nothing else.

    python -m tests.training.cuda.fake_cuda LIBRARY CASES

LIBRARY is `stand_in.cpp`, compiled.
"""

import ctypes
import importlib.util
import json
import sys
from pathlib import Path


def load(library: str) -> None:
    """Give torch the stand-in's devices; it looks for them once, while it is imported."""
    assert "torch" not in sys.modules
    found = importlib.util.find_spec("torch")
    assert found is not None and found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0]) / "lib"
    for name in (folder / "libc10.so", folder / "libtorch_cpu.so", Path(library)):
        ctypes.CDLL(str(name), mode=ctypes.RTLD_GLOBAL)


def main() -> None:
    """Run the cases of a JSON list, and print a line of JSON for what was seen in each."""
    load(sys.argv[1])
    from tests.training.cuda import steps  # imports torch

    for case in json.loads(sys.argv[2]):
        print(json.dumps(steps.run(steps.Case(**case))), flush=True)


if __name__ == "__main__":
    main()
