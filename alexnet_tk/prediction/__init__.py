"""Whole runs of `predict`: the job, formats, resuming, the report, in this process or over Ray.

Nothing here imports torch or onnx. Importing the package loads nothing heavy; `run.predict` is the one call.
"""
