"""The entry point `alexnet-tk`, and what all its commands share: errors, signals, exit codes."""

import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from alexnet_tk.errors import AlexnetError, MissingExtraError
from alexnet_tk.text import printable

from .benchmark import benchmark
from .calibrate import calibrate
from .doctor import doctor
from .evaluate import evaluate
from .export import export
from .features import features
from .import_weights import import_weights
from .options import Debug
from .pack import pack
from .predict import predict
from .samples import samples
from .show import show
from .similar import similar
from .train import train


class Commands(TyperGroup):
    """Turns what a command raises into one line on stderr and an exit code; --debug lets it through."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        _prepare_process()
        try:
            return super().invoke(ctx)
        except AlexnetError as error:
            _fail(ctx, error, str(error), error.exit_code)
        except ModuleNotFoundError as error:
            missing = MissingExtraError.of(error) or error
            _fail(ctx, missing, str(missing))
        except BrokenPipeError:  # `| head` has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except OSError as error:
            _fail(ctx, error, f"{error.filename or 'the output'}: {error.strerror or error}")
        except KeyboardInterrupt:
            if "TORCHELASTIC_ERROR_FILE" not in os.environ:  # else the launcher, which got it too, says so
                typer.echo("stopped by Ctrl-C; what was finished is kept", err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            if type(error).__module__.startswith("typer"):  # wrong usage, an early end: typer's own to show
                raise
            _fail(ctx, error, f"{type(error).__name__}: {error}; --debug shows where")
        finally:
            _restore_signals()


def _prepare_process() -> None:
    """Make the streams take any file name, also where the shell closed them, and signals end with a code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  open as long as the process
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell's & made it ignored
        signal.signal(signal.SIGINT, _interrupted)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(number, _terminated)
    threading.excepthook = _thread_failed
    # Pillow warns of large pictures and odd tags; all that matters is whether they can be read.
    warnings.filterwarnings("ignore", module="PIL")


def _restore_signals() -> None:
    """Let a signal that comes while Python shuts down end the process at once, without a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) in (_interrupted, _interrupted_again, _terminated):
            signal.signal(number, signal.SIG_DFL)


def _fail(ctx: Any, error: BaseException, message: str, exit_code: int = 1) -> NoReturn:
    if ctx.meta.get("debug"):
        raise error
    if not _left_to_launcher(error):
        typer.echo(f"error: {printable(message)}", err=True)
    raise typer.Exit(exit_code)


def _left_to_launcher(error: BaseException) -> bool:
    """Whether another process reports the error: `--gpus`, or the first of those that torchrun started."""
    if "TORCHELASTIC_ERROR_FILE" not in os.environ:
        return False
    from alexnet_tk.training.parallel.launch import reported_elsewhere

    return reported_elsewhere(error)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """End the work in good order; a second Ctrl-C ends it at once."""
    signal.signal(number, _interrupted_again)
    raise KeyboardInterrupt


def _interrupted_again(number: int, frame: FrameType | None) -> NoReturn:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h")  # the cursor, which the bar has hidden (ECMA-48, DECTCEM)
    os._exit(128 + number)  # nothing is lost: each answer is flushed when it is written


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Print the traceback, unless the disk is full: TensorBoard raises that in the main thread, too."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"alexnet-tk {version('alexnet-tk')}")
        raise typer.Exit


app = typer.Typer(
    name="alexnet-tk",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Debug = False,
) -> None:
    """Train the dual-tower AlexNet of 2012, export it to ONNX, classify pictures."""


for command in (
    train,
    pack,
    calibrate,
    export,
    predict,
    features,
    similar,
    evaluate,
    benchmark,
    samples,
    show,
    doctor,
):
    app.command()(command)
app.command("import")(import_weights)

if __name__ == "__main__":
    app()
