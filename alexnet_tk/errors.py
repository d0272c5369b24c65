"""The errors that the library and the command line raise for a user.

    AlexnetError                  exit code 1: the work could not be done
    ├── UsageError                exit code 2: options or arguments that don't make sense together
    │   └── RecipeError           an unknown recipe or key, a wrong type, an impossible network
    ├── InputError                pictures or lists that can't be used
    ├── DataError                 training or evaluation data that can't be used
    ├── PictureError              one picture that can't be read (a `failed` record in predictions)
    ├── TrainingError             training that can't continue: a NaN or infinite loss, no memory left
    ├── CheckpointError           not an alexnet-tk checkpoint, or a broken one
    ├── ModelError                an ONNX file that can't be used
    ├── ExportError               an exported file whose answers differ from the checkpoint's
    ├── DeviceError               a requested device that doesn't work
    ├── OutputError               an output that exists already or can't be written
    ├── ClusterError              a Ray cluster that can't be reached or has failed
    └── MissingExtraError         a missing package that one of the extras installs

Every message is one line: what happened, then what to do.
"""

from alexnet_tk.extras import install_command


class AlexnetError(Exception):
    """The base class of all errors; `exit_code` is the exit code of the command line."""

    exit_code = 1


class UsageError(AlexnetError):
    """Options or arguments that don't make sense, alone or together."""

    exit_code = 2


class RecipeError(UsageError):
    """An unknown recipe or key, a value of the wrong type, or an impossible network."""


class InputError(AlexnetError):
    """Pictures or lists of pictures that can't be used; with --strict, the first picture that fails."""


class DataError(AlexnetError):
    """Training or evaluation data that can't be used."""


class PictureError(AlexnetError):
    """One picture that can't be read; the message is the reason, without the path."""


class TrainingError(AlexnetError):
    """Training that can't continue: the loss is NaN or infinite, or the device is out of memory."""


class CheckpointError(AlexnetError):
    """A file that is not an alexnet-tk checkpoint, or a broken checkpoint."""


class ModelError(AlexnetError):
    """An ONNX file that can't be used."""


class ExportError(AlexnetError):
    """An exported file whose answers differ from its checkpoint's."""


class DeviceError(AlexnetError):
    """A requested device that doesn't work."""


class OutputError(AlexnetError):
    """An output that exists already or can't be written."""


class ClusterError(AlexnetError):
    """A Ray cluster that can't be reached or has failed."""


class MissingExtraError(AlexnetError):
    """A missing package that one of the extras of alexnet-tk installs."""

    @classmethod
    def of(cls, error: ModuleNotFoundError) -> "MissingExtraError | None":
        """The error to show for a failed import; None if no extra installs the module."""
        package = (error.name or "").partition(".")[0]
        command = install_command(package)
        return None if command is None else cls(f"this needs {package}, which is not installed: {command}")
