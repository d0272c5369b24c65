"""`alexnet-tk predict --engine ray`."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from .screen import Screen

if TYPE_CHECKING:
    from alexnet_tk.inference import Classifier, Found
    from alexnet_tk.inference.predict import Outcome
    from alexnet_tk.inference.results import Totals


class _Notes(io.TextIOBase):
    """Makes a line on stderr of what Ray prints on stdout: mostly that an actor died and is started again."""

    def __init__(self, show: Screen) -> None:
        self._show = show

    def write(self, text: str) -> int:
        """Take a message, which comes in one piece, or the end of its line."""
        first = re.sub(r"\x1b\[\d*m|\(raylet\)", "", text).strip().partition(". ")[0]
        if first and "ray.kill" not in text:  # what Ray ends itself, when the command is stopped, is no news
            self._show.say(f"ray: {first}")
        return len(text)


def over_ray(
    output: Path,
    resume: bool,
    model: Path,
    weights: str,
    classifier: "Classifier",
    preprocess: str | None,
    found: "Found",
    topk: int,
    device: str,
    batch_size: int | None,
    workers: int | None,
    show: Screen,
) -> tuple["Totals", "Outcome"]:
    """What stood in the output, and what became of the other pictures."""
    from alexnet_tk.inference import cluster
    from alexnet_tk.inference.foreign import read_preprocessing
    from alexnet_tk.inference.parts import FORMAT, earlier_folder, parts
    from alexnet_tk.inference.resume import Plan, earlier_batch_size

    cluster.refuse_members(found.paths)
    with redirect_stdout(_Notes(show)), cluster.connect(device, workers) as pool:
        show.say(f"ray: {pool}")
        earlier = earlier_batch_size(earlier_folder(output)) if resume else None
        size = batch_size or earlier or pool.batch_size
        plan = Plan.of(weights, found.paths, topk, FORMAT, size, classifier.settings)
        with parts(output, plan, resume) as kept:
            before = kept.totals()
            skipped = before.answered + before.failed
            if skipped:
                show.say(
                    f"{output}: {skipped:,} pictures stand in it, {len(found.paths) - skipped:,} are left"
                )
            show.begin("predicting", len(found.paths))
            show.advance(skipped)
            outcome = cluster.predict(
                pool,
                model,
                found.paths,
                topk,
                kept,
                show.advance,
                labels=classifier.labels if preprocess else None,
                preprocess=read_preprocessing(preprocess) if preprocess else None,
            )
    return before, outcome
