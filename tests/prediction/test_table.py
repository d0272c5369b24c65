"""The table that is drawn of predictions: its columns stand under each other, whatever the names are."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from alexnet_tk.inference import Record
from alexnet_tk.prediction.table import TableLayout

NAMES = st.text(st.sampled_from("a/é画像\U0001f408\n\x1b"), min_size=1, max_size=120)


@given(NAMES, NAMES, st.integers(40, 200))
def test_columns_stand_under_each_other(path: str, label: str, width: int) -> None:
    layout, record = TableLayout(width), Record(path, labels=(label,), probabilities=(0.5,))
    header, row = (text.plain for text in (layout.header(), layout.row(record, topk=1)))
    assert (header.count("\n"), row.count("\n")) == (1, 1)
    assert header.index("probability") == cell_len(row.partition("%")[0] + "%  "), "over its bar"
