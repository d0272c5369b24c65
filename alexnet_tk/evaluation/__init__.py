"""How good a model is, by the file that is deployed.

Checkpoints, packed sets and drawn matrices need the extra "train"; ONNX files and class folders do not.
"""

from alexnet_tk.evaluation.figures import Evaluation, Share
from alexnet_tk.evaluation.run import evaluate

__all__ = ["Evaluation", "Share", "evaluate"]
