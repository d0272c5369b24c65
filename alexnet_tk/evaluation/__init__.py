"""How good a model is, measured on the file that is deployed.

ONNX files and class folders need no extra; checkpoints, packed sets and drawn matrices need "train".
"""

from alexnet_tk.evaluation.calibration import Calibration, calibrate
from alexnet_tk.evaluation.figures import Evaluation, Proportion
from alexnet_tk.evaluation.run import evaluate

__all__ = ["Calibration", "Evaluation", "Proportion", "calibrate", "evaluate"]
