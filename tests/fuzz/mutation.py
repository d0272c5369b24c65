"""Files of strangers: sound ones, with bytes changed, cut out, doubled or put in."""

import time
import warnings
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning

# Numbers that formats use for lengths and counts, and that code forgets.
NUMBERS = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
]
FEW = 40  # files for each test where no time is asked for
WORDS = [b'"', b"\n", b"{}", b"[]", b"null", b"-1", b"1e999", b"NaN", b"../../x", b"\xed\xa0\x80"]


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A sound file with up to eight changes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 8))):
        # Most headers stand at the beginning, and some tables at the end.
        near, size = draw(st.integers(0, 64)), len(data)
        place = min(size, draw(st.sampled_from([near, max(0, size - near), draw(st.integers(0, size))])))
        length = draw(st.sampled_from([1, 2, 4, 16, 200]))
        match draw(st.sampled_from(["flip", "overwrite", "insert", "cut", "double", "truncate"])):
            case "flip" if place < len(data):
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "overwrite":
                value = draw(st.sampled_from(NUMBERS + WORDS))
                data[place : place + len(value)] = value
            case "insert":
                data[place:place] = draw(st.one_of(st.sampled_from(NUMBERS + WORDS), st.binary(max_size=8)))
            case "cut":
                del data[place : place + length]
            case "double":
                data[place:place] = data[place : place + length]
            case "truncate":
                del data[place:]
    return bytes(data)


def fuzz(target: Callable[[bytes], None], seeds: Sequence[bytes], minutes: float) -> None:
    """Call the target with mutated files: a few, or as many as the minutes allow.

    Whatever it raises is a finding, which hypothesis shrinks; the target handles the errors a user may see.
    """
    runs, end = 0, time.monotonic() + 60 * minutes
    while runs == 0 or time.monotonic() < end:

        @with_seed(runs)
        @settings(
            max_examples=2_000 if minutes else FEW,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        )
        @given(mutated(seeds))
        def run(data: bytes) -> None:
            target(data)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HypothesisWarning)  # that a finding is long to print
            run()
        runs += 1
