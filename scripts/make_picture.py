"""Make docs/predict.svg, the README's picture of the table that `predict` draws on a terminal.

alexnet-tk samples images/ && alexnet-tk train && alexnet-tk export model.pt
python -m scripts.make_picture model.onnx images/
"""

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from alexnet_tk.inference import Classifier
from alexnet_tk.prediction.table import TableLayout

OUTPUT = Path(__file__).parent.parent / "docs" / "predict.svg"
PICTURES = ("Ankle boot/0000.png", "Bag/0002.png", "Coat/0003.png", "Shirt/0005.png")


def main(model: str, folder: str) -> None:
    """Classify a few pictures and save the terminal's output as SVG."""
    paths = [f"{folder.rstrip('/')}/{name}" for name in PICTURES]
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=84, file=nowhere, force_terminal=True, color_system="truecolor")
        layout = TableLayout(console.width)
        console.print(layout.header(), end="", soft_wrap=True)
        for record in Classifier(model, "cpu").classify(paths, 5):
            console.print(layout.row(record, topk=5), end="", soft_wrap=True)
        svg = console.export_svg(title="alexnet-tk predict images/ --top5", theme=MONOKAI)
    # Without the font that the page would download; any monospaced one does.
    OUTPUT.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
