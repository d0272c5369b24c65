"""Train the dual-tower AlexNet of 2012, export it to ONNX, classify pictures with ONNX Runtime.

    from alexnet_tk import Classifier, benchmark, evaluate, export, features, import_weights, pack, predict

Importing this package loads nothing heavy; each of these names loads its module when it is first used.
The functions are those behind the commands: they take plain arguments and raise the same errors.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_tk.benchmarking.run import benchmark as benchmark
    from alexnet_tk.evaluation.calibration import calibrate as calibrate
    from alexnet_tk.evaluation.run import evaluate as evaluate
    from alexnet_tk.exporting.run import export as export
    from alexnet_tk.importing.run import import_weights as import_weights
    from alexnet_tk.inference.classify import Classifier as Classifier
    from alexnet_tk.prediction.features import features as features
    from alexnet_tk.prediction.run import predict as predict
    from alexnet_tk.similarity.run import duplicates as duplicates
    from alexnet_tk.similarity.run import similar as similar
    from alexnet_tk.training.loop import train as train
    from alexnet_tk.training.packing import pack as pack

# No module or package of the library has one of these names: importing it would hide the function.
_HOMES = {
    "Classifier": "alexnet_tk.inference",
    "benchmark": "alexnet_tk.benchmarking",
    "calibrate": "alexnet_tk.evaluation",
    "duplicates": "alexnet_tk.similarity.run",
    "evaluate": "alexnet_tk.evaluation",
    "export": "alexnet_tk.exporting",
    "features": "alexnet_tk.prediction.features",
    "import_weights": "alexnet_tk.importing",
    "pack": "alexnet_tk.training",
    "predict": "alexnet_tk.prediction.run",
    "similar": "alexnet_tk.similarity.run",
    "train": "alexnet_tk.training",
}

__all__ = [
    "Classifier",
    "benchmark",
    "calibrate",
    "duplicates",
    "evaluate",
    "export",
    "features",
    "import_weights",
    "pack",
    "predict",
    "similar",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
