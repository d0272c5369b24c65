"""Every error that a user of the library or of the command line can meet.

    AlexnetError                  exit code 1: the work could not be done
    ├── UsageError                exit code 2: what was asked for makes no sense
    │   └── RecipeError           an unknown recipe or key, a wrong type, an impossible network
    ├── InputError                pictures or lists that were named and can't be used
    ├── DataError                 training data that can't be used
    ├── PictureError              one picture that can't be read (a `failed` record in predictions)
    ├── TrainingError             training that can't go on: a loss that is no number, no memory left
    ├── CheckpointError           a file that is no checkpoint of ours
    ├── ModelError                an ONNX file that can't be used
    ├── ExportError               an export whose answers differ from the checkpoint's
    ├── DeviceError               a device that was asked for and does not work
    ├── OutputError               an output that exists or can't be written
    ├── ClusterError              a Ray cluster that can't be reached or gave up
    └── MissingExtraError         a package that an extra of this project brings

Messages are one line: they name the thing that is wrong and the next step.
"""


def printable(text: str) -> str:
    """The text on one line, without what could steer a terminal: such characters as their escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counted(number: int, noun: str) -> str:
    """As in "1 picture" and "2,000 pictures"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class AlexnetError(Exception):
    """The root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(AlexnetError):
    """What was asked for makes no sense."""

    exit_code = 2


class RecipeError(UsageError):
    """An unknown recipe or key, a value of the wrong type, an impossible network."""


class InputError(AlexnetError):
    """Pictures or lists that were named and can't be used; with --strict, a picture that failed."""


class DataError(AlexnetError):
    """Training data that can't be used."""


class PictureError(AlexnetError):
    """One picture that can't be read; the message is the reason without the path."""


class TrainingError(AlexnetError):
    """Training that can't go on: a loss that is no number, no memory left."""


class CheckpointError(AlexnetError):
    """A file that is no checkpoint of ours, or a broken one."""


class ModelError(AlexnetError):
    """An ONNX file that can't be used."""


class ExportError(AlexnetError):
    """An export whose answers differ from those of its checkpoint."""


class DeviceError(AlexnetError):
    """A device that was asked for and does not work."""


class OutputError(AlexnetError):
    """An output that exists already or can't be written."""


class ClusterError(AlexnetError):
    """A Ray cluster that can't be reached, or that gave up."""


class MissingExtraError(AlexnetError):
    """A package is missing that one of this project's extras brings."""

    # The first part of a module's name, and the extra that brings it.
    EXTRAS = {  # noqa: RUF012  a constant
        "torch": "train",
        "onnx": "train",
        "onnxscript": "train",
        "tensorboard": "train",
        "matplotlib": "train",
        "pyarrow": "parquet",
        "ray": "ray",
    }

    @classmethod
    def of(cls, error: ModuleNotFoundError) -> "MissingExtraError | None":
        """The error to show for a failed import, or None where no extra of ours brings the module."""
        package = (error.name or "").partition(".")[0]
        if package not in cls.EXTRAS:
            return None
        extra = f"alexnet-tk[{cls.EXTRAS[package]}]"
        return cls(f"this needs {package}, which is not installed: pip install '{extra}'")
