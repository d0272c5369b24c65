"""What is counted of a run, and how it is told."""

from alexnet_tk.inference import Record
from alexnet_tk.prediction.account import Totals


def test_totals_count_answers_and_reasons() -> None:
    totals = Totals()
    for record in (
        Record("a", "", ("x",), (1.0,)),
        Record("b", "empty file"),
        Record("c", "empty file"),
        Record("d", "gone"),
        Record("e", "truncated: 12 bytes are missing"),
        Record("f", "truncated: 13 bytes are missing"),
    ):
        totals.add(record.error)
    assert (totals.answered, totals.failed) == (1, 5)
    assert totals.reasons == {"empty file": 2, "gone": 1, "truncated": 2}
