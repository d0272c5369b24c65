"""Public weights become checkpoints. Needs torch and onnx."""

from alexnet_tk.importing.run import import_weights

__all__ = ["import_weights"]
