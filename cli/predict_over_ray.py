"""`alexnet-tk predict --engine ray`."""

import io
import re
from contextlib import redirect_stdout

from .predict_job import Job
from .screen import Screen


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


def over_ray(job: Job, device: str, preprocess: str | None, show: Screen) -> int:
    """Answer over Ray; the number of pictures that failed, now or before."""
    from alexnet_tk.inference import cluster
    from alexnet_tk.inference.foreign import read_preprocessing
    from alexnet_tk.inference.parts import FORMAT, earlier_folder, parts
    from alexnet_tk.inference.resume import earlier_batch_size

    assert job.output is not None, "what --engine ray needs"
    cluster.refuse_members(job.found.paths)
    with redirect_stdout(_Notes(show)), cluster.connect(device, job.workers) as pool:
        show.say(f"ray: {pool}")
        earlier = earlier_batch_size(earlier_folder(job.output)) if job.resume else None
        size = job.batch_size or earlier or pool.batch_size
        with parts(job.output, job.plan(size, FORMAT), job.resume) as kept:
            before = kept.totals()
            job.begin(before, show)
            outcome = cluster.predict(
                pool,
                job.model,
                job.found.paths,
                job.topk,
                kept,
                show.advance,
                labels=job.classifier.labels if preprocess else None,
                preprocess=read_preprocessing(preprocess) if preprocess else None,
            )
    job.tell(before, outcome, show)
    return outcome.totals.failed + before.failed
