"""What the stages of `--parallel pipeline` tell each other before their first batch, without the other one.

torch's schedule sends it as messages whose contents it reads, and fake tensors have none. What is sent of the
batches themselves is as it is.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed.pipelining import PipelineStage, _utils, schedules

from alexnet_tk import zoo


def patches(batch_size: int, dtype: torch.dtype) -> Iterator[Any]:
    """Stand-ins for the talk between stages whose maps have this dtype."""

    kinds: Any = (_utils._StageBackwardMeta, _utils._StageForwardMeta)

    def received(stage: Any, index: int) -> Any:
        pieces = dist.get_world_size() // 2 * zoo.recipe("alexnet-2012").train.micro_batches
        maps = torch.empty(batch_size // pieces, 9216, dtype=dtype, device=stage.device)
        described = _utils.extract_tensor_metas((maps.requires_grad_(stage.has_backward),))
        return kinds[index < stage.stage_index](described)

    yield mock.patch.object(schedules._PipelineSchedule, "_warmup_p2p", _agree)
    yield mock.patch.object(torch.random, "fork_rng", lambda **devices: nullcontext())
    yield mock.patch.object(PipelineStage, "_send_meta", lambda stage, meta, index: None)
    yield mock.patch.object(PipelineStage, "_recv_meta", received)


def _agree(schedule: Any, stages: Any, *arguments: Any) -> None:
    """That shapes are to be asked for."""
    for stage in stages:
        stage._inference_mode = _utils.InferenceMode.DYNAMIC
