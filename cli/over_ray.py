"""`alexnet-tk predict --engine ray`."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from .screen import Screen

if TYPE_CHECKING:
    from alexnet_tk.inference import Classifier, Found
    from alexnet_tk.inference.predict import Outcome
    from alexnet_tk.inference.results import Totals


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
    # Ray tells on stdout, which is for answers, of actors that died.
    with redirect_stdout(sys.stderr), cluster.connect(device, workers) as pool:
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
