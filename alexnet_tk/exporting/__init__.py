"""How weights become a file: `export` writes a checkpoint as a verified ONNX file. Needs torch and onnx."""

from alexnet_tk.exporting.run import export
from alexnet_tk.exporting.verification import Verification

__all__ = ["Verification", "export"]
