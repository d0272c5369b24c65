"""How fast a model answers on this machine, in figures that another run reproduces."""

from alexnet_tk.benchmarking.figures import Benchmark, MedianRange
from alexnet_tk.benchmarking.run import benchmark

__all__ = ["Benchmark", "MedianRange", "benchmark"]
