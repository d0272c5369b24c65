"""Pictures that are alike, by the distances of their features. Nothing here imports torch or onnx."""
