"""A peer of `alexnet-tk predict` as a whole process; benchmarks/peers.py runs it in `.venv-peers`.

    python benchmarks/peers_runs.py ultralytics|timm|model-api MODEL BATCH FOLDER answers.csv

Each reads the folder, answers, and writes a row for every picture, as its users would. The models take
pixels of 0..1; timm's is a checkpoint of ours.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDE = 224  # of the full network's pictures


def ultralytics(model: str, batch: int, folder: Path, rows: Any) -> None:
    """Its Python interface, on an ONNX file or on a folder of OpenVINO's files."""
    declare_torchvision()
    from ultralytics import YOLO

    network = YOLO(model, task="classify")
    for each in network.predict(folder, batch=batch, imgsz=SIDE, stream=True, verbose=False):
        rows.writerow([each.path, each.names[each.probs.top1], float(each.probs.top1conf)])


def timm(model: str, batch: int, folder: Path, rows: Any) -> None:
    """Its folder reader, transforms and loader with two workers, as its inference script uses them; torch."""
    declare_torchvision()
    import torch
    from timm.data import create_dataset, create_loader

    from alexnet_tk.training.checkpoint import Checkpoint

    checkpoint = Checkpoint.load(Path(model))
    preprocess = checkpoint.preprocess
    network = checkpoint.classifier().alexnet.eval()
    dataset = create_dataset("", root=str(folder))
    loader = create_loader(
        dataset,
        (3, preprocess.crop, preprocess.crop),
        batch,
        num_workers=2,
        device=torch.device("cpu"),
        interpolation=preprocess.filter,
        crop_pct=preprocess.crop / preprocess.resize,
        mean=tuple(each / 255 for each in preprocess.mean),
        std=tuple(each / 255 for each in preprocess.std),
    )
    answers: list[tuple[int, float]] = []
    with torch.inference_mode():
        for x, _ in loader:
            best = network(x).softmax(dim=1).max(dim=1)
            answers += zip(best.indices.tolist(), best.values.tolist(), strict=True)
    for path, (index, probability) in zip(dataset.filenames(absolute=True), answers, strict=True):
        rows.writerow([path, checkpoint.labels[index], probability])


def model_api(model: str, batch: int, folder: Path, rows: Any) -> None:
    """Pictures that OpenCV reads, `batch` of them at a time; the cores compute a picture each."""
    import cv2
    from model_api.models import ClassificationModel

    from alexnet_tk.machine import usable_cores

    network = ClassificationModel.create_model(
        model,
        model_type="Classification",
        configuration={"resize_type": "crop", "scale_values": [255.0] * 3, "reverse_input_channels": True},
        device="CPU",
        nstreams=str(usable_cores()),
    )
    paths = sorted(str(each) for each in folder.rglob("*") if each.is_file())
    for start in range(0, len(paths), batch):
        some = paths[start : start + batch]
        results = network.infer_batch([cv2.imread(each) for each in some])
        for path, result in zip(some, results, strict=True):
            best = result.top_labels[0]
            rows.writerow([path, best.id, best.confidence])


def declare_torchvision() -> None:
    """Let torchvision be imported where its compiled operators can't be loaded; no classifier calls them.

    Its package is built for torch with CUDA. Beside torch without it, the import ends at the first operator
    for which a shape is registered.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float iou) -> Tensor"
            )


KINDS: dict[str, Callable[[str, int, Path, Any], None]] = {
    "ultralytics": ultralytics,
    "timm": timm,
    "model-api": model_api,
}


def main() -> None:
    """Run what was asked for."""
    kind, model, batch, folder, output = sys.argv[1:]
    with Path(output).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "probability"])
        KINDS[kind](model, int(batch), Path(folder), rows)


if __name__ == "__main__":
    main()
