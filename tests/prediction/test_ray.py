"""`predict --engine ray` as a command: on this machine, on a cluster, with actors killed and runs stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alexnet_tk.inference.session import open_session
from alexnet_tk.prediction.parts import unfinished
from alexnet_tk.zoo import default_model

SCRIPT = Path(sys.executable).with_name("alexnet-tk")
COUNT = 2_000
RAY = ("--engine", "ray", "--workers", "2", "--topk", "3", "--unknown-below", "0.5")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
ENVIRONMENT["RAY_AUTH_MODE"] = "disabled"  # else a cluster makes a token in the home folder, and asks for it


def start(*arguments: str, cwd: Path, command: str = "predict", **more: str) -> subprocess.Popen[str]:
    """A command in a group of its own, as a shell starts one on a terminal, that heeds Ctrl-C."""
    return subprocess.Popen(
        [SCRIPT, command, *arguments],
        cwd=cwd,
        env=ENVIRONMENT | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def end(process: subprocess.Popen[str], code: int) -> str:
    """What it said on stderr: our lines and none of Ray's own."""
    out, err = process.communicate(timeout=180)
    assert process.returncode == code, err
    assert out == ""
    assert all(
        line.startswith(("model: ", "ray: ", "device: ", "time: ", "error: ", "stopped "))
        or "pictures" in line
        or "was begun with" in line
        for line in err.splitlines()
    ), err
    return err


def run(*arguments: str, cwd: Path, code: int = 0, command: str = "predict", **more: str) -> str:
    return end(start(*arguments, cwd=cwd, command=command, **more), code)


def processes() -> dict[int, tuple[int, str]]:
    """The parent of each that lives, and the words it was started by."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            # The name in brackets may hold anything; the state and the parent stand behind it.
            state, parent = (each / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile
            continue
        if state != "Z":
            found[int(each.name)] = (int(parent), words)
    return found


def processes_below(pid: int) -> dict[int, str]:
    """The children of a process, their children and so on."""
    everyone, below = processes(), {pid}
    while more := {each for each, (parent, _) in everyone.items() if parent in below} - below:
        below |= more
    return {each: everyone[each][1] for each in below - {pid}}


def wait_for_parts(output: Path, process: subprocess.Popen[str], count: int) -> int:
    for _ in range(60_000):
        if (there := len(list(unfinished(output).glob("part-*")))) >= count:
            return there
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    raise AssertionError("no part was written in a minute")


def assert_gone(pids: dict[int, str]) -> None:
    for _ in range(100):
        if not (left := pids.keys() & processes().keys()):
            return
        time.sleep(0.1)
    raise AssertionError({each: pids[each] for each in left})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 files, of which one is broken and one is empty."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    for number in range(COUNT):
        path = folder / f"{number:04}.png"
        if number < 25:
            coarse = Image.fromarray(draw.integers(0, 256, (7, 7, 3), np.uint8))
            noise = draw.integers(0, 64, (300, 300, 3), np.uint8)
            Image.fromarray(np.asarray(coarse.resize((300, 300))) // 2 + noise).save(path)
        else:
            path.hardlink_to(folder / f"{number % 25:04}.png")
    for number, size in ((777, 5_000), (1_501, 0)):
        whole = (folder / f"{number:04}.png").read_bytes()
        (folder / f"{number:04}.png").unlink()
        (folder / f"{number:04}.png").write_bytes(whole[:size])
    return folder


@pytest.fixture(scope="module")
def local(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What one process answers."""
    cwd = tmp_path_factory.mktemp("local")
    run(str(pictures), *RAY[4:], "--output", "a.parquet", "--device", "cpu", cwd=cwd, code=3)
    table = pq.read_table(cwd / "a.parquet")
    assert table.num_rows == COUNT
    assert [each for each in table["error"].to_pylist() if each] == [
        "truncated: image file is truncated",
        "empty file",
    ]
    assert len(set(table["probability_1"].to_pylist())) >= 25, "or a swap could not be seen"
    return table


def assert_same(output: Path, table: pa.Table, within: float = 1e-6) -> None:
    other = pq.read_table(output)
    assert other.schema.equals(table.schema)
    for name in table.column_names:
        if name.startswith("probability"):
            np.testing.assert_allclose(
                other[name].to_numpy(), table[name].to_numpy(), rtol=0, atol=within, equal_nan=True
            )
        else:
            assert other[name].to_pylist() == table[name].to_pylist(), name


@pytest.mark.slow
def test_an_actor_that_is_killed_loses_nothing(pictures: Path, local: pa.Table, tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    process = start(str(pictures), *RAY, "--output", str(output), cwd=tmp_path)
    before = wait_for_parts(output, process, 2)
    everyone = processes_below(process.pid)
    actors = [pid for pid, words in everyone.items() if words.startswith("ray::MapWorker")]
    assert len(actors) == 2
    os.kill(actors[0], signal.SIGKILL)
    assert before < 40, "of 63 parts"
    said = end(process, 3)
    assert "ray: A worker died" in said
    assert "ray: 2 × cpu" in said
    assert "2,000 found, 1,998 answered; 2 failed" in said
    assert_same(output, local)
    assert_gone(everyone)

    written = {each: each.stat().st_mtime_ns for each in output.iterdir()}
    said = run(str(pictures), *RAY, "--output", str(output), "--resume", cwd=tmp_path, code=3)
    assert "2,000 skipped, answered before" in said
    assert written == {each: each.stat().st_mtime_ns for each in output.iterdir()}


@pytest.mark.slow
def test_features_are_those_of_one_process(pictures: Path, feature_file: Path, tmp_path: Path) -> None:
    """Killed, resumed, and read as one table."""
    words = (str(pictures), "--model", str(feature_file), "--dtype", "float16", "--batch-size", "32")
    over_ray = (*words, "--engine", "ray", "--workers", "2", "--output", "ray.parquet", "--resume")
    process = start(*over_ray, cwd=tmp_path, command="features")
    wait_for_parts(tmp_path / "ray.parquet", process, 2)
    process.send_signal(signal.SIGTERM)
    end(process, 143)
    assert "skipped, answered before" in run(*over_ray, cwd=tmp_path, code=3, command="features")
    run(*words, "--device", "cpu", "--output", "one.parquet", cwd=tmp_path, code=3, command="features")
    found, expected = (pq.read_table(tmp_path / name) for name in ("ray.parquet", "one.parquet"))
    assert found.equals(expected)
    assert (found.num_rows, found["features"].null_count) == (COUNT, 2)


@pytest.mark.slow
def test_a_stopped_run_leaves_its_parts_and_no_process(
    pictures: Path, local: pa.Table, tmp_path: Path
) -> None:
    """Stopped by Ctrl-C, and by SIGTERM when it is resumed."""
    arguments = (str(pictures), *RAY, "--output", "a.parquet")
    folder, parts, answered = unfinished(tmp_path / "a.parquet"), dict[str, int](), 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = start(*arguments, "--resume", cwd=tmp_path)
        wait_for_parts(tmp_path / "a.parquet", process, len(parts) + 3)
        everyone = processes_below(process.pid)
        assert any("raylet" in words for words in everyone.values())
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        said = end(process, code)
        assert_gone(everyone)
        assert_resumed(said, answered)
        written = {each.name: each.stat().st_mtime_ns for each in folder.glob("part-*")}
        assert parts.items() < written.items(), "not answered again"
        parts, answered = written, sum(pq.read_metadata(folder / name).num_rows for name in written)
        assert 0 < answered < COUNT
    assert_resumed(run(*arguments, "--resume", cwd=tmp_path, code=3), answered)
    assert_same(tmp_path / "a.parquet", local)
    for name, when in parts.items():
        assert (tmp_path / "a.parquet" / name).stat().st_mtime_ns == when, "not answered again"


def assert_resumed(said: str, answered: int) -> None:
    line = f"a.parquet: {answered:,} of the pictures answered before, {COUNT - answered:,} left"
    assert (line in said) == (answered > 0), said


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster that says it has a GPU."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = "--head --block --num-cpus=2 --num-gpus=1 --include-dashboard=false --disable-usage-stats"
    process = subprocess.Popen(
        [SCRIPT.with_name("ray"), "start", f"--port={port}", *options.split()],
        env=ENVIRONMENT | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        with socket.socket() as there:
            if there.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None
        time.sleep(0.1)
    everyone = processes_below(process.pid)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(60)
    assert_gone(everyone)


@pytest.mark.slow
def test_an_actor_that_cannot_open_the_model(pictures: Path, cluster: str, tmp_path: Path) -> None:
    if open_session(default_model())[1].is_cuda:
        pytest.skip("CUDA works here")
    said = run(
        str(pictures), *RAY[:2], "--output", "a.parquet", cwd=tmp_path, code=1, RAY_ADDRESS=cluster
    ).splitlines()
    assert said[-2].startswith("ray: 1 × cuda, 2 threads each")
    assert said[-1].startswith("error: --device cuda: ")
    assert said[-1].endswith("; --device cpu works everywhere")


@pytest.mark.slow
def test_urls_on_a_cluster_without_their_gpus(
    pictures: Path, local: pa.Table, cluster: str, tmp_path: Path
) -> None:
    arguments = (pictures.as_uri(), *RAY, "--device", "cpu", "--output", "a.parquet")
    run(*arguments, cwd=tmp_path, code=3, RAY_ADDRESS=cluster)
    urls = pa.array([f"file://{path}" for path in local["path"].to_pylist()])
    named = local.set_column(0, "path", urls).set_column(1, "path_bytes", urls.cast(pa.binary()))
    assert_same(tmp_path / "a.parquet", named)


@pytest.mark.slow
def test_openvino_in_every_actor(pictures: Path, local: pa.Table, tmp_path: Path) -> None:
    pytest.importorskip("openvino", exc_type=ImportError)
    words = (str(pictures), *RAY, "--output", "a.parquet")
    process = start(*words, "--device", "openvino", cwd=tmp_path)
    wait_for_parts(tmp_path / "a.parquet", process, 2)
    os.killpg(process.pid, signal.SIGINT)
    assert "ray: 2 × openvino, 1 thread each" in end(process, 130)
    said = run(*words, "--resume", cwd=tmp_path, code=3)
    assert "a.parquet.parts was begun with --device openvino, and goes on with it" in said
    assert "ray: 2 × openvino" in said
    assert_same(tmp_path / "a.parquet", local, within=1e-5)


def test_no_cluster_at_the_address(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    said = run("a.png", *RAY, "--output", "a.parquet", cwd=tmp_path, code=1, RAY_ADDRESS="127.0.0.1:1")
    assert "error: no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1: Connection refused" in said
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --output F.parquet"),
        (["--output", "a.csv"], "give --output F.parquet"),
        (["--output", "a.parquet", "--strict"], "--engine local"),
        (["--output", "a.parquet", "--report", "a.html"], "--engine local"),
        (["--output", "a.parquet", "--device", "cuda:1"], "Ray deals out the GPUs"),
    ],
)
def test_what_ray_does_not_do(tmp_path: Path, arguments: list[str], message: str) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    said = run("a.png", "--engine", "ray", *arguments, cwd=tmp_path, code=2)
    assert message in said.splitlines()[-1]
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_archives_are_for_one_process(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b.png", b"")
    said = run("a.zip", "--engine", "ray", "--output", "a.parquet", cwd=tmp_path, code=2)
    assert "a.zip/b.png: --engine ray does not read archives in place" in said
