"""How weights become a file: `export` turns a checkpoint into a verified ONNX file. Needs torch and onnx."""

from alexnet_tk.export.onnx import Form, export

__all__ = ["Form", "export"]
