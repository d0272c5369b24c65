"""The record of a prediction."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.text import as_utf8

DIGITS = 6  # of a probability that are written: about as many as float32 holds


@dataclass(frozen=True)
class Record:
    """The answer for one picture: `labels` and their `probabilities`, the most probable first.

    A picture that could not be read has an error and no labels.
    """

    path: str
    error: str = ""
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    thumbnail: bytes = field(default=b"", repr=False)  # JPEG, where it was asked for
    truth: str = ""  # the label by the name of its folder, in an evaluation
    unknown: bool | None = None  # whether it is less sure than was asked for; None: nothing was asked
    # Where they were asked for: what the answer rests on, laid over the picture as the network saw it, in a
    # JPEG and in a thumbnail; the last hidden layer's activations, (units,).
    heat_map: bytes = field(default=b"", repr=False)
    heat_thumbnail: bytes = field(default=b"", repr=False)
    features: NDArray[np.floating] | None = field(default=None, repr=False, compare=False)

    @property
    def status(self) -> str:
        """Either "ok" or "failed"."""
        return "failed" if self.error else "ok"

    @property
    def wrong(self) -> bool:
        """Whether the truth is known, and another label the most probable one."""
        return bool(self.truth and self.labels) and self.labels[0] != self.truth

    def top(self, topk: int) -> "Record":
        """The same with at most `topk` labels."""
        if len(self.labels) <= topk:
            return self
        return replace(self, labels=self.labels[:topk], probabilities=self.probabilities[:topk])

    def marked(self, unknown_below: float | None) -> "Record":
        """The same, marked as unknown if its highest probability is below; as it is where that is None."""
        if unknown_below is None:
            return self
        return replace(self, unknown=bool(self.probabilities) and self.probabilities[0] < unknown_below)

    def row(self, topk: int) -> dict[str, str | float | bool | None]:
        """The record as named columns; the ranks of a failed record are None.

        The column `unknown`, None in a failed record, is there where it was asked for.
        """
        path = as_utf8(self.path)
        row: dict[str, str | float | bool | None] = {"path": path, "status": self.status, "error": self.error}
        if self.unknown is not None:
            row["unknown"] = None if self.error else self.unknown
        for rank in range(topk):
            row[f"label_{rank + 1}"] = None if self.error else self.labels[rank]
            row[f"probability_{rank + 1}"] = (
                None if self.error else float(f"{self.probabilities[rank]:.{DIGITS}g}")
            )
        return row


def as_text(path: str) -> str:
    """A path in Unicode, with a replacement character for each byte that is not UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
