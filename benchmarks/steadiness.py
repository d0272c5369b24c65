"""How well `alexnet-tk benchmark` repeats itself: two runs in a row, compared with their intervals.

python benchmarks/steadiness.py [MODEL] [FOLDER]
"""

import sys
from pathlib import Path

from alexnet_tk import zoo
from alexnet_tk.benchmarking import Benchmark, MedianRange, benchmark


def main() -> None:
    """Run twice and print a line for each figure."""
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else zoo.default_model()
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    first, second = (benchmark(model, folder) for _ in range(2))
    for name, rates in _rates(first).items():
        one, other = MedianRange.of(rates), MedianRange.of(_rates(second)[name])
        apart, interval = abs(one.median - other.median), max(one.high - one.low, other.high - other.low)
        print(
            f"{name:16} {one.median:8,.1f}/s then {other.median:8,.1f}/s: {apart:6.1f} apart, "
            f"interval {interval:6.1f}: {'steady' if apart < interval else 'NOT steady'}"
        )


def _rates(figures: Benchmark) -> dict[str, list[float]]:
    """The pictures/s of each round by setting."""
    rates = {f"{each.device}, batch {each.batch_size}": each.rates for each in figures.networks}
    return rates | {f"{each.device}, predict": each.rates for each in figures.predictions}


if __name__ == "__main__":
    main()
