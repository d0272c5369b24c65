"""Make docs/predict.svg, the README's picture: the table that `predict` draws on a terminal.

alexnet-tk samples images/ && alexnet-tk train && alexnet-tk export model.pt
python -m scripts.make_picture model.onnx images/
"""

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from alexnet_tk.inference import Classifier
from cli.table import table_writer

OUTPUT = Path(__file__).parent.parent / "docs" / "predict.svg"
PICTURES = ("Ankle boot/0000.png", "Bag/0002.png", "Coat/0003.png", "Shirt/0005.png")


def main(model: str, folder: str) -> None:
    """Classify a few pictures and keep what the terminal would show."""
    paths = [f"{folder.rstrip('/')}/{each}" for each in PICTURES]
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=84, file=nowhere, force_terminal=True, color_system="truecolor")
        write = table_writer(console, 5)
        for record in Classifier(model, "cpu").classify(paths, 5):
            write(record)
        svg = console.export_svg(title="alexnet-tk predict images/ --top5", theme=MONOKAI)
    # The font would be fetched from the net where the picture is shown; any fixed font does.
    OUTPUT.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
