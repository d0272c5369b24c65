"""torchvision's AlexNet, from a file that holds a dictionary of tensors; its keys identify it."""

from pathlib import Path

from torch import Tensor

from alexnet_tk import zoo
from alexnet_tk.errors import CheckpointError
from alexnet_tk.importing.public_model import SUPPORTED_FILES, PublicModel
from alexnet_tk.text import counted, shortened
from alexnet_tk.training.checkpoint import CHECKPOINT_FORMAT, read_plain, require_numbers

MODEL_NAME = "torchvision-alexnet"

# torchvision's modules by our layers.
MODULES = {
    "c1": "features.0",
    "c2": "features.3",
    "c3": "features.6",
    "c4": "features.8",
    "c5": "features.10",
    "f6": "classifier.1",
    "f7": "classifier.4",
    "f8": "classifier.6",
}


# Where training scripts keep the weights in their checkpoints, and what wrappers put before every name.
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.")


def _state_dict(content: object) -> object:
    """The weights in a training checkpoint, without the prefixes of DataParallel, compile and Lightning."""
    while isinstance(content, dict):
        inner = [content[key] for key in NESTED if isinstance(content.get(key), dict)]
        prefixes = [each for each in PREFIXES if all(str(key).startswith(each) for key in content)]
        if inner:
            content = inner[0]
        elif content and prefixes:
            content = {str(key).removeprefix(prefixes[0]): value for key, value in content.items()}
        else:
            break
    return content


def read_torchvision(source: Path) -> PublicModel:
    """The network in a file that torch wrote, as a zip archive or as the pickle of versions before 1.6.

    Raises
    ------
    CheckpointError
        another file, or a broken one

    """
    content = read_plain(source, f"give {SUPPORTED_FILES}", legacy=True)
    if isinstance(content, dict) and content.get("format") == CHECKPOINT_FORMAT:
        raise CheckpointError(f"{source} is already a checkpoint of alexnet-tk; use it as it is")
    content = _state_dict(content)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        kind = "a dictionary of other values" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise CheckpointError(
            f"{source} holds {kind} instead of a dictionary of tensors; give {SUPPORTED_FILES}"
        )
    names = {
        f"{module}.{parameter}": f"{layer}.{parameter}"
        for layer, module in MODULES.items()
        for parameter in ("weight", "bias")
    }
    if set(content) != set(names):
        more = shortened([str(key) for key in content if key not in names], 3)
        fewer = shortened([key for key in names if key not in content], 3)
        differing = " and ".join([f"has {more}"] * bool(more) + [f"lacks {fewer}"] * bool(fewer))
        raise CheckpointError(
            f"{source} holds {counted(len(content), 'tensor')}, not the {len(names)} of torchvision's "
            f"AlexNet: it {differing}; give {SUPPORTED_FILES}"
        )
    for key, value in content.items():
        try:
            require_numbers(key, value)
        except ValueError as error:
            raise CheckpointError(f"{source} is broken: {error}; download it again") from error
    weights = {names[key]: value.detach().float().contiguous() for key, value in content.items()}
    return PublicModel(MODEL_NAME, zoo.recipe(MODEL_NAME), weights)
