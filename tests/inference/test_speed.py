"""What a run says of its own speed."""

import pytest

from alexnet_tk.inference.speed import Speed


@pytest.mark.parametrize(
    ("seconds", "runs", "bound"),
    [
        ({"decode": 1.0, "infer": 3.0}, 0, "infer"),
        ({"decode": 3.0, "infer": 1.0}, 0, "decode"),
        ({"read": 3.0, "infer": 1.0}, 0, "read"),
        # Four workers decode for eight seconds in two, while a GPU computes two batches at a time for three.
        ({"decode": 8.0, "infer": 6.0}, 2, "infer"),
        ({"decode": 8.0, "infer": 6.0}, 4, "decode"),
        ({"decode": 8.0, "infer": 6.0}, 0, "decode"),
        # Writing is one thread's work.
        ({"decode": 8.0, "infer": 3.0, "write": 2.5}, 0, "write"),
    ],
)
def test_the_stage_that_the_others_wait_for(seconds: dict[str, float], runs: int, bound: str) -> None:
    speed = Speed(4, 32, runs)
    for stage, value in seconds.items():
        setattr(speed, stage, value)
    assert speed.bound() == bound
    assert f"bound by {bound}: {speed.advice()} would help" in str(speed)


def test_the_advice_where_the_network_is_the_limit() -> None:
    assert Speed(2, 32, infer=1.0).advice() == "more cores or a GPU"
    assert Speed(2, 32, faster=("a", "b"), infer=1.0).advice() == "a, b, more cores or a GPU"
    assert "GPU" not in Speed(2, 32, 2, ("a",), infer=1.0).advice()


def test_batches_by_their_rank() -> None:
    speed = Speed(2, 32)
    assert "median 0 ms" in str(speed), "no batch, no error"
    for number in range(1, 202):
        speed.add(0.0, 0.001, 0.001 * number)
    assert "decode 0.2 s" in str(speed)
    assert "a batch of 32: median 102 ms, p99 200 ms" in str(speed)
