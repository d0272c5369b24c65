"""The fixtures of the small model."""

from tests.small_model import answer, feature_file, features_of, labels, metadata, model_file, write_model

__all__ = ["answer", "feature_file", "features_of", "labels", "metadata", "model_file", "write_model"]
