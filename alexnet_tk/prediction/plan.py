"""What decides the bytes of an output, kept beside it so that no run is resumed with anything else.

Beside an output F stands F.run.json with the model's hash, that of the inputs, the device and so on.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alexnet_tk import images
from alexnet_tk.choices import Arithmetic
from alexnet_tk.errors import OutputError, PictureError
from alexnet_tk.files import replacing
from alexnet_tk.inference.pictures import Picture, name_of, open_picture
from alexnet_tk.progress import Progress

# How an output was made that a plan doesn't fit, by the field that differs.
DIFFERENCES = {
    "model": "by another model",
    "inputs": "of other pictures",
    "pictures": "of another number of pictures",
    "topk": "with another number of labels (--topk)",
    "format": "in another format",
    "batch_size": "with another --batch-size",
    "settings": "with other --labels or --preprocess",
    "unknown_below": "with another --unknown-below",
    "explain": "with another --explain, or without one",
}


@dataclass(frozen=True)
class Plan:
    """What decides the bytes of an output.

    Fields with a default are missing in the files of version 0.1.0, which were made in that way.
    """

    model: str  # SHA-256 of the file
    inputs: str  # SHA-256 of the pictures' names, in order
    pictures: int
    topk: int
    format: str
    batch_size: int  # another one may change the last digit of a probability
    settings: str = ""  # of the model, where its file does not hold them
    device: str = "cpu"
    arithmetic: Arithmetic = "exact"
    decoding: int = 1  # `images.DECODING_REVISION`
    unknown_below: float | None = None
    explain: str = ""  # the folder of heat maps, which is resumed with the output

    @classmethod
    def of(
        cls,
        model: str,
        pictures: Iterable[str],
        topk: int,
        format: str,
        batch_size: int,
        *,
        settings: str = "",
        device: str = "cpu",
        arithmetic: Arithmetic = "exact",
        unknown_below: float | None = None,
        explain: str = "",
    ) -> "Plan":
        """The plan for these pictures; `model` is the SHA-256 of its file, `device` is its kind."""
        names, count = hashlib.sha256(), 0
        for name in pictures:
            names.update(os.fsencode(name) + b"\0")
            count += 1
        return cls(
            model,
            names.hexdigest(),
            count,
            topk,
            format,
            batch_size,
            settings,
            device,
            arithmetic,
            images.DECODING_REVISION,
            unknown_below,
            explain,
        )

    def save(self, output: Path) -> None:
        """Write the plan, before the first answer; raises `OutputError`."""
        with replacing(plan_file(output)) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def check(self, output: Path) -> None:
        """Raise `OutputError` unless the output holds answers for these pictures by this model."""
        made = self._made(output)
        differing = [phrase for name, phrase in DIFFERENCES.items() if made.get(name) != getattr(self, name)]
        if differing:
            raise OutputError(
                f"{output} was made {' and '.join(differing)}; give --overwrite, or another --output"
            )

    def check_computing(self, output: Path, answered: Iterable[Picture]) -> None:
        """Raise `OutputError` unless further answers would be computed as those in the output.

        With an older revision of decoding they are if none of the pictures `answered` there has changed
        since; the plan beside the output is then replaced by this one.
        """
        made = self._made(output)
        if made["device"] != self.device:
            raise OutputError(
                f"{output} was made on {made['device']} and this run computes on {self.device}, whose "
                f"answers differ in the last digits; give --device {made['device']} to go on, or --overwrite"
            )
        if made["arithmetic"] != self.arithmetic:
            math = (
                "--math exact" if made["arithmetic"] == "exact" else "--math fast, where the machine has it,"
            )
            raise OutputError(
                f"{output} was made with {made['arithmetic']} arithmetic and this run computes with "
                f"{self.arithmetic}; give {math} to go on, or --overwrite"
            )
        revision = made["decoding"]
        if revision == self.decoding:
            return
        changed = "some pictures"
        if isinstance(revision, int) and revision < self.decoding:
            first = _first_changed(answered, revision)
            if first is None:
                self.save(output)
                return
            changed = first
        raise OutputError(
            f"{output} was made with revision {revision} of decoding, and revision {self.decoding} decodes "
            f"{changed} differently; give --overwrite, or another --output"
        )

    def _made(self, output: Path) -> dict[str, Any]:
        """The plan that an output was made by."""
        saved = _read(output)
        if saved is None:
            raise OutputError(
                f"{output} has no {plan_file(output).name} beside it, so it can't be resumed; "
                "give --overwrite"
            )
        return {each.name: each.default for each in fields(self) if each.default is not MISSING} | saved


def plan_file(output: Path) -> Path:
    """The file of an output's plan; in a folder, a name that readers of Parquet pass over."""
    return output / "_run.json" if output.is_dir() else output.with_name(f"{output.name}.run.json")


def earlier_batch_size(output: Path) -> int | None:
    """The batch size of an output that is there; None where there is none, or it does not say."""
    size = (_read(output) or {}).get("batch_size")
    return size if isinstance(size, int) and size > 0 else None


def model_of(output: Path) -> str | None:
    """The SHA-256 of the model that an output was made with; None where that is not known."""
    model = (_read(output) or {}).get("model")
    return model if isinstance(model, str) else None


def device_to_go_on(asked: str, output: Path, progress: Progress) -> str:
    """The device that is asked for; instead of "auto", the processor's one that the output was begun with."""
    saved = _read(output)
    here = ("cpu", "openvino") if find_spec("openvino") is not None else ("cpu",)
    if asked != "auto" or saved is None or (device := saved.get("device", "cpu")) not in here:
        return asked
    progress.say(f"{output} was begun with --device {device}, and goes on with it")
    return str(device)


def _read(output: Path) -> dict[str, Any] | None:
    """The values of an output's plan; None where they can't be read."""
    try:
        saved = json.loads(plan_file(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return saved if isinstance(saved, dict) else None


def _first_changed(pictures: Iterable[Picture], revision: int) -> str | None:
    """The name of the first picture that decodes differently since that revision; None if there is none."""
    for index, picture in enumerate(pictures):
        try:
            changed = images.decodes_since(open_picture(picture)) > revision
        except PictureError:  # it was answered, and can't be opened now
            changed = True
        if changed:
            return name_of(picture, index)
    return None
