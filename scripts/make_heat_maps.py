"""Make docs/heat-maps.png: pictures of the built-in samples above what their answers rest on.

alexnet-tk samples images/ && alexnet-tk train && alexnet-tk export model.pt --explain
python -m scripts.make_heat_maps model.onnx images/
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet_tk import images
from alexnet_tk.inference import Classifier

OUTPUT = Path(__file__).parent.parent / "docs" / "heat-maps.png"
CLASSES = ("Ankle boot", "Bag", "Coat", "Dress", "Sandal", "Shirt", "Sneaker", "Trouser")
SIDE, GAP = 96, 4  # pixels


def main(model: str, folder: str) -> None:
    """Classify a picture of each of these classes, and put them side by side."""
    paths = [Path(folder) / name / "0001.png" for name in CLASSES]
    classifier = Classifier(model, "cpu")
    step = SIDE + GAP
    sheet = Image.new("RGB", (step * len(paths) - GAP, 2 * step - GAP), "white")
    for column, record in enumerate(classifier.classify(paths, explain=True)):
        seen = Image.fromarray(np.asarray(images.load(record.path, classifier.model.preprocess)))
        sheet.paste(seen, (column * step, 0))
        sheet.paste(Image.open(io.BytesIO(record.heat_map)), (column * step, step))
    sheet.save(OUTPUT, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
