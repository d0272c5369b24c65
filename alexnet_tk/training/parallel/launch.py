"""`--gpus N`: the command in N processes of this machine, started and watched by torch's elastic launcher.

The launcher ends all of them when one of them dies. A process that fails writes the reason to a file that the
launcher names, and the launcher reports it; so one line is printed instead of N.
"""

import logging
import os
import signal
import sys
import uuid
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from alexnet_tk import errors
from alexnet_tk.errors import TrainingError, UsageError
from alexnet_tk.machine import usable_cores
from alexnet_tk.training.parallel.world import PEER_ENDED, is_first, started_by_launcher

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

SIGNALS = (
    "SIGTERM",
    "SIGHUP",
    "SIGQUIT",
)  # the launcher turns these into an exception; Ctrl-C is one already
REPORTS_ERRORS = "ALEXNET_TK_LAUNCHER_REPORTS_ERRORS"  # set in the processes' environment by `_launch`
SHUTDOWN_TIMEOUT = 25  # seconds for processes to finish a step and save, on Ctrl-C or when another has died


def run_in_processes(processes: int | None, module: str, arguments: list[str]) -> bool:
    """Where several processes are asked for, run a module's command line in them and wait for their end.

    Parameters
    ----------
    processes
        their number; None or 1: none are started
    module, arguments
        the command line, as after `python -m`; in the processes, this function returns False

    Returns
    -------
    True: other processes have done the work; False: it is left to this process

    Raises
    ------
    TrainingError
        a process failed; the message says which one and why, the exit code is its own
    KeyboardInterrupt, SystemExit
        a signal came; the processes have ended

    """
    if processes is None or processes == 1 or started_by_launcher():
        return False
    _launch(processes, module, arguments)
    return True


def reported_elsewhere(error: BaseException) -> bool:
    """Whether another process prints this process's error: the launcher, or the run's first process.

    Processes that torchrun started print their own errors, except usage errors, which are the same in all.
    """
    if "TORCHELASTIC_ERROR_FILE" not in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    get_error_handler().record_exception(error)
    return REPORTS_ERRORS in os.environ or (isinstance(error, UsageError) and not is_first())


def _launch(processes: int, module: str, arguments: list[str]) -> None:
    # Imported here: a command that needs one process should not wait for it.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The launcher logs every signal. Its modules set levels of their own, so a level set here has no effect.
    log = logging.getLogger("torch.distributed.elastic")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    os.environ[REPORTS_ERRORS] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // processes)))
    # Signals that this process ignores, under nohup or a shell's &, stay ignored.
    handled = [
        name
        for name in SIGNALS
        if name in signal.Signals.__members__ and signal.getsignal(signal.Signals[name]) is not signal.SIG_IGN
    ]
    with TemporaryDirectory(prefix="alexnet-tk-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=str(uuid.uuid4()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
            signals_to_handle=",".join(handled),
            logs_specs=DefaultLogsSpecs(logs),
        )
        try:
            elastic_launch(config, sys.executable)("-P", "-m", module, *arguments)
        except ChildFailedError as error:
            raise _first_failure(error, processes) from None
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None


def _first_failure(error: "ChildFailedError", processes: int) -> TrainingError:
    """The failure that caused the others, as the error to show."""
    rank, failure = min(error.failures.items(), key=lambda item: _consequence(item[1]))
    process, reason = f"process {rank} of {processes}", _recorded_reason(failure)
    if reason is None and failure.exitcode > 128:  # every process exits so after a signal to one of them
        name = signal.Signals(failure.exitcode - 128).name
        stopped = TrainingError(f"a process received {name}, so all saved and ended; continue with --resume")
        stopped.exit_code = failure.exitcode
        return stopped
    if reason is None:
        end = failure.signal_name() if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        return TrainingError(
            f"{process} was ended by {end}, all others were stopped; "
            "continue from the last checkpoint with --resume"
        )
    kind, _, message = reason.partition(": ")
    known = getattr(errors, kind, None)
    if known is None:
        return TrainingError(f"{process}: {reason}; --debug shows where")
    # A usage error is the same in all processes, and an error of the first one concerns the whole run.
    concerns_all = rank == 0 or issubclass(known, UsageError)
    result = TrainingError(message if concerns_all else f"{process}: {message}")
    result.exit_code = known.exit_code
    return result


def _consequence(failure: "ProcessFailure") -> tuple[int, int]:
    """A sort key: 0 for a failure with a reason of its own, more for one that another failure caused."""
    reason = _recorded_reason(failure)
    if reason and PEER_ENDED not in reason:
        return 0, failure.timestamp
    # The launcher ends the others by SIGTERM, and by SIGKILL those that do not react to it.
    return (1 if failure.exitcode == -signal.SIGKILL else 2), failure.timestamp


def _recorded_reason(failure: "ProcessFailure") -> str | None:
    """The error that a process recorded, "kind: message"; None where it had no time to."""
    message: object = failure.message
    return message["message"] if isinstance(message, dict) else None
