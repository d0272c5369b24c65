"""Training: `train` takes pictures and a recipe and writes a checkpoint. Needs torch."""

from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.loop import train
from alexnet_tk.training.packing import pack

__all__ = ["Checkpoint", "pack", "train"]
