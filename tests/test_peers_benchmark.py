"""benchmarks/peers.py: what it makes of the programs that it compares, and a run without the peers."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import openvino
import pytest
from PIL import Image

from alexnet_tk import zoo
from alexnet_tk.inference.model import open_model
from benchmarks import peers
from benchmarks.peers import ANSWERS, FOLDER, Way
from benchmarks.peers_files import from_zero_to_one, openvino_files

# Programs with a folder and a table as arguments, in the ways of the peers.
START = """
import csv, sys
from pathlib import Path
folder, output = map(Path, sys.argv[1:])
paths = sorted(folder.iterdir())
bad = [each for each in paths if each.read_bytes() == b"no picture"]
good = [each for each in paths if each not in bad]
file = output.open("w", newline="")
write = csv.writer(file).writerow
"""
ALL = 'write(["path"])\nfor each in paths: write([each])'
GOOD = 'write(["path"])\nfor each in good: write([each])'
PROGRAMS = {
    "named as failed": 'write(["path", "status"])\n'
    'for each in paths: write([each, "failed" if each in bad else "ok"])',
    "left out": GOOD,
    "answered": ALL,
    "ends the run": GOOD + '\nsys.exit("no picture" if bad else 0)',
}
BACKWARDS = 'write(["path"])\nfor each in reversed(paths): write([each])'
NONE = 'write(["path"])'


def way(program: str, name: str = "way") -> Way:
    return Way(name, (sys.executable, "-I", "-c", START + program, FOLDER, ANSWERS))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(str(each) for each in folder.iterdir())


@pytest.mark.parametrize("outcome", PROGRAMS)
def test_what_becomes_of_an_unreadable_picture(outcome: str, paths: list[str], tmp_path: Path) -> None:
    tried = way(PROGRAMS[outcome])
    tried.try_out(paths, tmp_path)
    assert tried.unreadable == outcome


def test_a_run_counts_answers_and_compares_their_order(paths: list[str], tmp_path: Path) -> None:
    folder = Path(paths[0]).parent
    forwards, backwards = way(GOOD), way(BACKWARDS)
    Path(paths[2]).write_bytes(b"no picture")
    for each in (forwards, backwards):
        each.time(folder, paths, tmp_path)
        assert each.seconds[0] > 0
    assert (forwards.answered, forwards.order) == (5, "kept")
    assert (backwards.answered, backwards.order) == (6, "changed")


def test_a_way_that_can_not_run_is_a_line(
    paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Way("missing", (tmp_path / "none" / "python", FOLDER))
    broken, silent = way("import no_such_peer", "broken"), way(NONE, "silent")
    works = way(ALL, "works")
    compared = peers.compare([missing, broken, silent, works], Path(paths[0]).parent, paths, 2, tmp_path)
    assert compared == [works]
    assert len(works.seconds) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"missing: not compared: there is no {tmp_path / 'none' / 'python'}; `make peers` makes it",
        "broken: not compared: ModuleNotFoundError: No module named 'no_such_peer'",
        "silent: not compared: answered 0 of 4 pictures",
    ]


def test_ctrl_c_leaves_the_whole_rounds(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [way("", "one"), way("", "two")]
    runs = 0

    def run(self: Way, folder: Path, temporary: Path) -> tuple[float, dict[str, bool]]:
        nonlocal runs
        runs += 1
        if runs == 4:
            raise KeyboardInterrupt
        return 1.0, dict.fromkeys(paths, True)

    monkeypatch.setattr(Way, "try_out", lambda *arguments: None)
    monkeypatch.setattr(Way, "run", run)
    compared = peers.compare(ways, Path(paths[0]).parent, paths, 3, tmp_path)
    assert [each.seconds for each in compared] == [[1.0], [1.0]]


def test_the_table_divides_times_of_the_same_round(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {
        "predict, fp32, cpu": [2.0, 4.0, 4.0],
        "predict, fp32, openvino": [2.0, 2.5, 2.0],
        "predict, fp32, auto": [2.0, 2.0, 2.0],
        "predict, fp32, fast, openvino": [1.0, 1.0, 1.0],
        peers.BASELINE: [10.0, 8.0, 6.0],
    }
    peers.print_table([Way(name, (), each, 1000, "kept", "left out") for name, each in seconds.items()])
    lines = capsys.readouterr().out.splitlines()
    (cpu,) = (line for line in lines if line.startswith("predict, fp32, cpu"))
    assert cpu.split() == [
        "predict,",
        "fp32,",
        "cpu",
        "4.00",
        "2.00×",
        "(1.50",
        "to",
        "5.00)",
        "1,000",
        "kept",
        "left",
        "out",
    ]
    assert (
        lines[-1]
        == "predict, fp32, auto: 1.00× (1.00 to 1.25) as fast as predict, fp32, openvino, the fastest device"
    )


@pytest.mark.slow
def test_files_for_the_peers_give_the_answers_of_ours(
    paths: list[str], fashion_mini: Path, tmp_path: Path
) -> None:
    """From pixels of 0..1 in ONNX Runtime, and in OpenVINO for the batch that was named."""
    file = tmp_path / "pixels.onnx"
    from_zero_to_one(fashion_mini, file, Path(paths[0]).parent)
    ours = open_model(zoo.default_model(), "cpu")
    side = ours.image_size
    pictures = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    expected = ours.run(pictures)
    x = np.ascontiguousarray((pictures / 255).astype(np.float32).transpose(0, 3, 1, 2))
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    assert ast.literal_eval(session.get_modelmeta().custom_metadata_map["names"]) == dict(
        enumerate(ours.labels)
    )

    folder = openvino_files(file, 3)
    assert folder.name.endswith("_openvino_model")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", exact)
    assert list(compiled.input().shape) == [3, 3, side, side]
    np.testing.assert_allclose(compiled(x)[0], expected, atol=1e-4)
    metadata = json.loads((folder / "metadata.yaml").read_text(encoding="utf-8"))
    assert (metadata["batch"], metadata["imgsz"]) == ("3", f"[{side}, {side}]")


@pytest.mark.slow
def test_ours_are_compared_where_no_peer_is_installed(
    paths: list[str],
    fashion_mini: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(peers, "FORMS", {"fp32": peers.FORMS["fp32"]})
    monkeypatch.setattr(peers, "DEVICES", ("cpu",))
    words = ["peers.py", str(Path(paths[0]).parent), "--checkpoint", str(fashion_mini), "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--environment", str(tmp_path / "none")])
    assert peers.main() == 0
    lines = capsys.readouterr().out.splitlines()
    missing = [line.partition(": not compared: there is no ")[0] for line in lines if "make peers" in line]
    assert peers.BASELINE in missing
    assert any(name.startswith("timm") for name in missing)
    for device in ("cpu", "auto"):
        (line,) = (each for each in lines if each.startswith(f"predict, fp32, {device}  "))
        assert line.split()[-5:] == ["6", "kept", "named", "as", "failed"]
