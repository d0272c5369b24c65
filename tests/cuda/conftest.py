"""Stand-ins for CUDA's libraries, and a process that opens and runs a file with them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cuda import standins

PROGRAM = """
import json, sys
import numpy as np
from alexnet_tk import Classifier
from alexnet_tk.errors import AlexnetError
from alexnet_tk.inference.other_models import read_preprocess

file, device, math, labels, pictures, result = sys.argv[1:]
given = {}
if labels != "0":
    given = {"labels": [str(i) for i in range(int(labels))], "preprocess": read_preprocess("imagenet")}
found = {}
try:
    model = Classifier(file, device, math=math, **given).model
    found["device"] = str(model.device)
    found["arithmetic"] = model.device.arithmetic
    session = getattr(model.session, "session", model.session)
    placed = session.get_provider_graph_assignment_info() if model.device.is_cuda else []
    found["nodes"] = {each.ep_name: [] for each in placed}
    for each in placed:
        found["nodes"][each.ep_name] += [node.op_type for node in each.get_nodes()]
    side = model.image_size
    print("--- run", file=open(result + ".log", "a"))
    model.run(np.zeros((int(pictures), side, side, 3), np.uint8))
    print("--- end", file=open(result + ".log", "a"))
except AlexnetError as error:
    found["error"] = str(error)
json.dump(found, open(result, "w"))
"""


@dataclass(frozen=True)
class Seen:
    """What a process found, and the calls that the stand-ins wrote down."""

    device: str
    arithmetic: str
    nodes: dict[str, list[str]]  # by provider
    error: str
    calls: list[str]

    @property
    def calls_of_run(self) -> list[str]:
        """Those of the run after the blank picture's."""
        return self.calls[self.calls.index("--- run") + 1 : self.calls.index("--- end")]


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins."""
    if (reason := standins.why_not()) is not None:
        pytest.skip(f"no stand-ins for CUDA: {reason}")
    folder = tmp_path_factory.mktemp("cuda")
    standins.build(folder)
    return folder


Look = Callable[..., Seen]


@pytest.fixture
def look(libraries: Path, tmp_path: Path) -> Look:
    """Opens a file in a process of its own, which must print nothing at all, and runs it."""

    def look(
        file: Path,
        device: str = "cuda",
        math: str = "exact",
        *,
        labels: int = 0,
        pictures: int = 4,
        folders: tuple[Path, ...] | None = None,
        **settings: Any,
    ) -> Seen:
        result = tmp_path / "seen.json"
        log = Path(f"{result}.log")
        environment = {f"STANDIN_{name.upper()}": str(value) for name, value in settings.items()}
        environment |= {
            "STANDIN_LOG": str(log),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, folders or (libraries,))),
            "PYTHONPATH": str(Path(__file__).parent.parent.parent),
        }
        arguments = [str(file), device, math, str(labels), str(pictures), str(result)]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        found = json.loads(result.read_text(encoding="utf-8"))
        calls = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return Seen(
            found.get("device", ""),
            found.get("arithmetic", ""),
            found.get("nodes", {}),
            found.get("error", ""),
            calls,
        )

    return look
