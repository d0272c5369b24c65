"""How files of pictures meet an ONNX file. Nothing here imports torch or onnx."""

from alexnet_tk.found import Found
from alexnet_tk.inference.classify import Classifier
from alexnet_tk.inference.record import Record
from alexnet_tk.inference.sources import find

__all__ = ["Classifier", "Found", "Record", "find"]
