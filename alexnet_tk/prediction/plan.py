"""What decides the bytes of an output, kept beside it so that no run is resumed with anything else.

Beside an output F stands F.run.json with the model's hash, that of the inputs, the device and so on.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from alexnet_tk import images
from alexnet_tk.choices import Arithmetic
from alexnet_tk.errors import OutputError, PictureError
from alexnet_tk.files import replacing
from alexnet_tk.inference.pictures import Picture, name_of, open_picture
from alexnet_tk.inference.session import arithmetic


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
    ) -> "Plan":
        """The plan for these pictures; `model` is the SHA-256 of its file, `device` "cpu" or "cuda"."""
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
            arithmetic(device),
            images.DECODING_REVISION,
        )

    def save(self, output: Path) -> None:
        """Write the plan, before the first answer; raises `OutputError`."""
        with replacing(plan_file(output)) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def check(self, output: Path, answered: Iterable[Picture]) -> None:
        """Raise `OutputError` unless what stands in the output was made by this plan.

        With an older revision of decoding, it was if none of the pictures `answered` there has changed since;
        the plan beside the output is then replaced by this one.
        """
        saved = _read(output)
        if saved is None:
            raise OutputError(
                f"{output} has no {plan_file(output).name} beside it, so it can't be resumed; "
                "give --overwrite"
            )
        defaults = {each.name: each.default for each in fields(self) if each.default is not MISSING}
        made, now = defaults | saved, asdict(self)
        different = [name for name in now if made.get(name) != now[name]]
        if different == ["decoding"] and _older(made["decoding"], self.decoding):
            changed = _first_changed(answered, made["decoding"])
            if changed is None:
                self.save(output)
                return
            raise OutputError(
                f"{output} was made with revision {made['decoding']} of decoding, and {changed} is read "
                f"differently by revision {self.decoding}; give --overwrite, or another --output"
            )
        if different:
            raise OutputError(f"{output} {_reason(different, made, now)}, or another --output")


def plan_file(output: Path) -> Path:
    """The file of an output's plan; in a folder, a name that readers of Parquet pass over."""
    return output / "_run.json" if output.is_dir() else output.with_name(f"{output.name}.run.json")


def earlier_batch_size(output: Path) -> int | None:
    """The batch size of an output that is there; None where there is none, or it does not say."""
    size = (_read(output) or {}).get("batch_size")
    return size if isinstance(size, int) and size > 0 else None


def _read(output: Path) -> dict[str, Any] | None:
    """The values of an output's plan; None where they can't be read."""
    try:
        saved = json.loads(plan_file(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return saved if isinstance(saved, dict) else None


def _older(revision: object, current: int) -> bool:
    return isinstance(revision, int) and revision < current


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


def _reason(different: list[str], made: dict[str, Any], now: dict[str, Any]) -> str:
    """Why an output can't be resumed, and what to do."""
    match different[0]:
        case "device":
            return (
                f"was made on {made['device']} and this run computes on {now['device']}, whose answers "
                f"differ in the last digits; give --device {made['device']} to go on, or --overwrite"
            )
        case "arithmetic":
            return (
                f"was made with {made['arithmetic']} arithmetic and this run computes with "
                f"{now['arithmetic']}; give --overwrite"
            )
        case "decoding":
            return (
                f"was made with revision {made['decoding']} of decoding and this version has "
                f"{now['decoding']}, which reads some pictures differently; give --overwrite"
            )
    return f"was made with another {' and another '.join(different)}; give --overwrite"
