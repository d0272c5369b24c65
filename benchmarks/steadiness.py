"""Whether `alexnet-tk benchmark` repeats itself: two runs in a row, and the interval that each prints.

python benchmarks/steadiness.py [MODEL] [FOLDER]
"""

import sys
from pathlib import Path

from alexnet_tk import zoo
from alexnet_tk.benchmarking import benchmark
from alexnet_tk.benchmarking.figures import Estimate


def main() -> None:
    """Run twice, print a line for each figure."""
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else zoo.default_model()
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    first, second = (benchmark(model, folder) for _ in range(2))
    named = [(f"batch {each.batch_size}", each.rates) for each in first.batches]
    named += [("predict", each.rates) for each in first.folders]
    again = [each.rates for each in second.batches] + [each.rates for each in second.folders]
    for (name, rates), others in zip(named, again, strict=True):
        one, other = Estimate.of(rates), Estimate.of(others)
        apart, interval = abs(one.median - other.median), max(one.high - one.low, other.high - other.low)
        print(
            f"{name:10} {one.median:8,.1f}/s then {other.median:8,.1f}/s: {apart:6.1f} apart, "
            f"interval {interval:6.1f}: {'steady' if apart < interval else 'NOT steady'}"
        )


if __name__ == "__main__":
    main()
