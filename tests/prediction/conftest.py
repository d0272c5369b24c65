"""The fixtures of the small model."""

from tests.small_model import answer, labels, metadata, model_file, write_model

__all__ = ["answer", "labels", "metadata", "model_file", "write_model"]
