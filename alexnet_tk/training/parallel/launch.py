"""`--gpus N`: this command in N processes of this machine, started and watched by torch's elastic launcher.

The launcher ends all of them when one of them dies. Why a process can't go on it writes to the file that the
launcher names, and the launcher tells it; so one line is printed, and not N.
"""

import logging
import os
import signal
import sys
import uuid
from tempfile import TemporaryDirectory

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from alexnet_tk import errors
from alexnet_tk.errors import TrainingError
from alexnet_tk.inference.machine import usable_cores
from alexnet_tk.training.parallel.world import LOST

SIGNALS = ("SIGTERM", "SIGHUP", "SIGQUIT")  # that the launcher turns into an exception; Ctrl-C is one already
TELLS = "ALEXNET_TK_LAUNCHER_TELLS"  # in the environment of processes: why they end
SHUTDOWN = 25  # seconds that processes have to finish a step and save, when another has died or on Ctrl-C


def launch(processes: int, module: str, arguments: list[str]) -> None:
    """Run a module's command line in so many processes and wait for their end.

    Raises
    ------
    TrainingError
        one of them could not go on; the message says which and why, the exit code is its own
    KeyboardInterrupt, SystemExit
        a signal came; the processes have ended

    """
    # It tells of every signal; a level set here would not count, since its parts have levels of their own.
    log = logging.getLogger("torch.distributed.elastic")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    os.environ[TELLS] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // processes)))
    # What nohup and the shell's & have this process ignore, stays ignored.
    heeded = [
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
            shutdown_timeout=SHUTDOWN,
            signals_to_handle=",".join(heeded),
            logs_specs=DefaultLogsSpecs(logs),
        )
        try:
            elastic_launch(config, sys.executable)("-P", "-m", module, *arguments)
        except ChildFailedError as error:
            raise _first(error, processes) from None
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None


def _first(error: ChildFailedError, processes: int) -> TrainingError:
    """The failure from which the others followed."""

    def consequence(failure: ProcessFailure) -> tuple[int, int]:
        told = _told(failure)
        if told and LOST not in told:
            return 0, failure.timestamp
        # The launcher ends the others by SIGTERM, and by SIGKILL those that do not heed it.
        return (1 if failure.exitcode == -signal.SIGKILL else 2), failure.timestamp

    rank, failure = min(error.failures.items(), key=lambda item: consequence(item[1]))
    where, told = f"process {rank} of {processes}", _told(failure)
    if told is None and failure.exitcode > 128:  # as all end that have heard of a signal to one of them
        name = signal.Signals(failure.exitcode - 128).name
        stopped = TrainingError(f"a process was sent {name}, so all saved and ended; --resume goes on there")
        stopped.exit_code = failure.exitcode
        return stopped
    if told is None:
        end = failure.signal_name() if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        return TrainingError(
            f"{where} was ended by {end}, all others were stopped; --resume goes on from the last checkpoint"
        )
    kind, _, message = told.partition(": ")
    known = getattr(errors, kind, None)
    if known is None:
        return TrainingError(f"{where}: {told}; --debug shows where")
    # What was asked for makes no sense to any process, and what the first one meets may be met by all.
    everyones = rank == 0 or issubclass(known, errors.UsageError)
    result = TrainingError(message if everyones else f"{where}: {message}")
    result.exit_code = known.exit_code
    return result


def _told(failure: ProcessFailure) -> str | None:
    """What a process wrote of its end, "kind: message"; None where it was given no time to."""
    message: object = failure.message
    return message["message"] if isinstance(message, dict) else None
