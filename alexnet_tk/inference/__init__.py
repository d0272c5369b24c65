"""How files of pictures meet an ONNX file. Nothing here imports torch or onnx."""

from alexnet_tk.inference.classify import Classifier
from alexnet_tk.inference.results import Record
from alexnet_tk.inference.sources import Found, find

__all__ = ["Classifier", "Found", "Record", "find"]
