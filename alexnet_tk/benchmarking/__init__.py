"""How fast a model answers on this machine, in figures that another run finds again."""

from alexnet_tk.benchmarking.figures import Benchmark, Estimate
from alexnet_tk.benchmarking.run import benchmark

__all__ = ["Benchmark", "Estimate", "benchmark"]
