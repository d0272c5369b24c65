"""One process of the section `modes` of benchmarks/gpu.py, started by torchrun."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.gpu_training import run_rank

if __name__ == "__main__":
    run_rank(*sys.argv[1:])
