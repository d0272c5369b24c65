"""Training steps and evaluations on fake CUDA tensors, and what the host of a GPU would wait for."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alexnet_tk import zoo
from alexnet_tk.choices import Parallelism
from alexnet_tk.errors import PictureError
from alexnet_tk.preprocess import Square
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.batches import PictureBatch
from alexnet_tk.training.metrics import Tally
from alexnet_tk.training.parallel import World, hybrid, pipeline, towers
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer
from tests.training.cuda import stages

WAITS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.is_nonzero.default"}
INDEXING = {"aten.index.Tensor", "aten.index_put_.default", "aten.index_put.default"}
COLOURS = Statistics.from_lists([120, 110, 100], [100, 300, 9000], np.eye(3).tolist())
BATCH, PICTURES = 128, 1000


@dataclass(frozen=True)
class Case:
    """What to compute: a process of a run, and how many of its pictures can't be read."""

    precision: str = "fp32"
    mode: Parallelism | None = None
    size: int = 1
    rank: int = 0
    unreadable: int = 0
    settings: list[str] = field(default_factory=list)


@dataclass
class Seen:
    """What happened in a step and an evaluation."""

    operators: dict[str, int] = field(default_factory=Counter)  # on CUDA tensors, by name
    waits: list[str] = field(default_factory=list)  # for values of CUDA tensors
    blocking: list[str] = field(default_factory=list)  # copies that the host waits for
    uploads: list[str] = field(default_factory=list)  # streams on which the host's tensors were copied
    events: list[str] = field(default_factory=list)  # of streams, in order
    collectives: list[tuple[str, str, bool]] = field(default_factory=list)  # name, dtype, contiguous
    layouts: dict[str, list[bool]] = field(default_factory=dict)  # channels_last: weight and gradient


class FakeStream(torch.Stream):
    """A stream whose waits are seen."""

    seen: Seen
    current: list["FakeStream"]

    def wait_stream(self, other: torch.Stream) -> None:
        self.seen.events.append(f"{self.stream_id} waits for {other.stream_id}")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Compute on this stream inside the block."""
        self.current.append(self)
        yield
        self.current.pop()


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operators on CUDA tensors."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs, seen = str(function), kwargs or {}, self.seen
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        on_cuda = any(each.device.type == "cuda" for each in tensors)
        if name == "aten.record_stream.default":
            seen.events.append("in use")
        if name in WAITS and on_cuda:
            seen.waits.append(name)
        if name in INDEXING:
            for index in (each for each in args[1] if isinstance(each, Tensor)):
                if index.dtype == torch.bool:
                    seen.waits.append(f"{name} by a mask")
                if index.device != args[0].device:
                    seen.blocking.append(f"{name} by indices on {index.device}")
        if name == "aten._to_copy.default":
            self._copy(
                args[0], torch.device(kwargs.get("device") or args[0].device), kwargs.get("non_blocking")
            )
        if name == "aten.copy_.default":
            self._copy(args[1], args[0].device, (*args, *kwargs.values())[2:] == (True,))
        if name.startswith("c10d."):
            sent = [each for each in tensors if each.numel()]
            seen.collectives += [(name, str(each.dtype), each.is_contiguous()) for each in sent[:1]]
        if name.startswith("_c10d_functional.") and "wait" not in name:
            seen.collectives.append((name, str(tensors[0].dtype), tensors[0].is_contiguous()))
        if on_cuda:
            seen.operators[name] += 1
        return function(*args, **kwargs)

    def _copy(self, source: Tensor, target: torch.device, non_blocking: Any) -> None:
        if source.device.type == target.type:
            return
        what = f"{source.device.type} to {target.type}, {source.dtype} {tuple(source.shape)}"
        with unset_fake_temporarily():  # which would say that nothing is pinned
            is_paged = source.device.type == "cpu" and not source.is_pinned()
        if is_paged or not non_blocking:
            self.seen.blocking.append(what)
        elif target.type == "cuda":
            self.seen.uploads.append(str(FakeStream.current[-1].stream_id))
            self.seen.events.append("upload")


class BlankSplit:
    """A `Split` of black pictures, of which the given ones can't be read."""

    def __init__(self, unreadable: set[int]) -> None:
        self.targets = np.zeros(PICTURES, np.int64)
        self.unreadable = unreadable

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        if index in self.unreadable:
            raise PictureError("unreadable")
        return np.zeros((square.crop, square.crop, 3), np.uint8)

    def name(self, index: int) -> str:
        return str(index)


def run(case: Case) -> dict[str, Any]:
    """What was seen in a step and an evaluation of the paper's network."""
    recipe = zoo.recipe("alexnet-2012").override(f"train.precision={case.precision}", *case.settings)
    seen = Seen()
    with ExitStack() as stack:
        if case.size > 1:
            dist.init_process_group("fake", store=FakeStore(), rank=case.rank, world_size=case.size)
            stack.callback(dist.destroy_process_group)
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        for patch in (*_patches(seen), *stages.patches(BATCH, torch.bfloat16)):
            stack.enter_context(patch)
        world = World(case.rank, case.size, torch.device("cuda", 0))
        trainer = Trainer(recipe, COLOURS, PICTURES, world, case.mode)
        draws = EpochDraws.draw(recipe, 0, PICTURES, COLOURS)
        first = draws.order[:BATCH][trainer.strategy.slots]
        unreadable = set(first[: case.unreadable].tolist())
        batches = trainer.training_batches(trainer.reader(BlankSplit(unreadable)), draws)
        with Watch(seen):
            Tally(world).add(*trainer.step(next(batches), 0))
        with Watch(seen), suppress(EnoughError):
            trainer.evaluate(trainer.reader(BlankSplit(set())), _stop)
        for name, parameter in trainer.strategy.parameters.items():
            if parameter.ndim == 4 and parameter.grad is not None:
                seen.layouts[name] = [
                    each.is_contiguous(memory_format=torch.channels_last)
                    for each in (parameter, parameter.grad)
                ]
    return vars(seen)


class EnoughError(Exception):
    """Ends an evaluation before its sums are read, which waits for them."""


def _stop(batch: PictureBatch, logits: Tensor) -> None:
    if batch.indices[0] >= BATCH:
        raise EnoughError


def _patches(seen: Seen) -> Iterator[Any]:
    """What a build without CUDA lacks in Python."""
    FakeStream.seen, FakeStream.current = seen, [_stream(0)]
    yield mock.patch.object(torch.cuda, "Stream", lambda device: _stream(1))
    yield mock.patch.object(torch.cuda, "stream", lambda stream: stream.entered())
    yield mock.patch.object(torch.cuda, "current_stream", lambda device: FakeStream.current[-1])
    yield mock.patch.object(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    yield mock.patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    yield mock.patch.object(World, "max", lambda world, value: value)
    yield mock.patch.object(torch.nn.Module, "_apply", _convert)

    # Both read the parameters' data in C++.
    yield mock.patch.object(torch.nn.parallel.distributed, "_verify_param_shape_across_processes", _nothing)
    yield mock.patch.object(torch.nn.parallel.distributed, "_sync_module_states", _nothing)

    def mesh(*arguments: Any, **options: Any) -> Any:
        with unset_fake_temporarily():
            return init_device_mesh(*arguments, **options)

    for module in (hybrid, pipeline, towers):
        yield mock.patch.object(module, "init_device_mesh", mesh)


def _nothing(*arguments: Any, **options: Any) -> None:
    pass


def _convert(module: torch.nn.Module, function: Callable[[Tensor], Tensor]) -> torch.nn.Module:
    """Module.to with new parameters: a fake one can't take the data of another device."""
    for each in module.modules():
        for name, parameter in each.named_parameters(recurse=False):
            each.register_parameter(name, torch.nn.Parameter(function(parameter.detach())))
    return module


def _stream(number: int) -> FakeStream:
    return FakeStream(stream_id=number, device_index=0, device_type=1)


def _update(self: Any, grads: list[Tensor], momentum_buffer_list: list[Tensor], **options: Any) -> None:
    """The fused update: everything on one device, gradients in the layout of the parameters."""
    for parameter, gradient, buffer in zip(self, grads, momentum_buffer_list, strict=True):
        assert parameter.shape == gradient.shape == buffer.shape
        assert parameter.stride() == gradient.stride() == buffer.stride()


# Operators that have no fake results in torch.
_LIBRARY = torch.library.Library("aten", "IMPL", "Meta")  # type: ignore[no-untyped-call]
_LIBRARY.impl("_fused_sgd_", _update)  # type: ignore[no-untyped-call]
_LIBRARY.impl("_amp_foreach_non_finite_check_and_unscale_", lambda scaled, found, inverse: None)  # type: ignore[no-untyped-call]
_LIBRARY.impl("record_stream", lambda tensor, stream: None)  # type: ignore[no-untyped-call]
_LIBRARY.impl("_amp_update_scale_", lambda scale, *others: scale)  # type: ignore[no-untyped-call]
