"""What people run today instead of `alexnet-tk predict`; benchmarks/predict.py and peers.py time them.

    python benchmarks/predict_others.py loop FLOAT.onnx FOLDER answers.csv    # one picture after the other
    python benchmarks/predict_others.py loader MODEL.pt FOLDER answers.csv    # torch, two workers

Both prepare pictures as torchvision's usual transforms do: the shorter side to 256, the centre's 224×224, to
float, mean, move the channels.
"""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def prepare(path: str) -> NDArray[np.float32]:
    """Resize(256), CenterCrop(224), ToTensor, Normalize."""
    picture = Image.open(path).convert("RGB")
    scale = 256 / min(picture.size)
    picture = picture.resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    picture = picture.crop((left, top, left + 224, top + 224))
    x = np.asarray(picture, np.float32) / 255
    return np.ascontiguousarray(((x - MEAN) / STD).transpose(2, 0, 1))


def loop(model: str, paths: list[str], rows: Any) -> None:
    """Pillow, batch 1, one session with its default threads."""
    import onnxruntime as ort

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for path in paths:
        (answers,) = session.run(None, {name: prepare(path)[None]})
        rows.writerow([path, int(answers[0].argmax()), float(answers[0].max())])


def loader(checkpoint: str, paths: list[str], rows: Any) -> None:
    """Torch, batches of 32 that two processes decode."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    from alexnet_tk.training.checkpoint import Checkpoint

    class Pictures(Dataset[Any]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Any:
            return paths[index], torch.from_numpy(prepare(paths[index]))

    network = Checkpoint.load(Path(checkpoint)).classifier().alexnet.eval()
    with torch.inference_mode():
        for names, x in DataLoader(Pictures(), batch_size=32, num_workers=2):
            best = network(x).softmax(dim=1).max(dim=1)
            rows.writerows(zip(names, best.indices.tolist(), best.values.tolist(), strict=True))


def main() -> None:
    """Run what was asked for."""
    kind, model, folder, output = sys.argv[1:]
    paths = sorted(str(each) for each in Path(folder).rglob("*") if each.is_file())
    with Path(output).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "probability"])
        {"loop": loop, "loader": loader}[kind](model, paths, rows)


if __name__ == "__main__":
    main()
