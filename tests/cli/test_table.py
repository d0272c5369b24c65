"""The table that is drawn of predictions: its columns stand under each other, whatever the names are."""

import io
from importlib import import_module

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from alexnet_tk.inference import Record

table_writer = import_module("alexnet_tk.cli.table").table_writer

NAMES = st.text(st.sampled_from("a/é画像\U0001f408\n\x1b"), min_size=1, max_size=120)


@given(NAMES, NAMES, st.integers(40, 200))
def test_columns_stand_under_each_other(path: str, label: str, width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None)
    table_writer(console, 1)(Record(path, labels=(label,), probabilities=(0.5,)))
    header, row = stream.getvalue().splitlines()
    assert header.index("probability") == cell_len(row.partition("%")[0] + "%  "), "over its bar"
