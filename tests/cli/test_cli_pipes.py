"""Output that goes to another program: whole names, any encoding, readers and signals that end."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
from tinymodel import COMMAND
from weightfiles import write_safetensors

import mlx_probe

LONG = "model.layers.0." + "very_long_module_name." * 8 + "weight"
WIDE = "模型.layers.0.q_proj.weight"


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((8, 6)).astype(np.float32) for name in (LONG, WIDE)}
    (tmp_path / "named").mkdir()
    return write_safetensors(tmp_path / "named" / "model.safetensors", arrays)


def piped(*arguments, **environment):
    """Run the command with standard output in a pipe, as a script would."""
    bare = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        env={**bare, **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_names_are_neither_cut_nor_wrapped_in_a_pipe(model, tmp_path):
    done = piped("inspect", model)
    assert done.returncode == 0, done.stderr
    assert LONG in done.stdout.decode("utf-8")
    assert b" \n" not in done.stdout
    assert piped("analyze", model, "--out", tmp_path / "out", "--quiet").returncode == 0
    checks = piped("validate", tmp_path / "out").stdout.decode("utf-8")
    assert f"spot check of {LONG}" in checks


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_name_that_the_output_cannot_encode_is_escaped(model, encoding):
    done = piped("inspect", model, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    shown = WIDE if encoding == "utf-8" else WIDE.encode("ascii", "backslashreplace").decode()
    assert shown in done.stdout.decode(encoding)


def test_a_reader_that_leaves_does_not_fail_the_run(model, tmp_path):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [COMMAND, "analyze", model, "--out", tmp_path / "out"],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr
    assert len(mlx_probe.load_run(tmp_path / "out")) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")  # noqa: PTH110
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_disk_behind_standard_output_is_a_message(model, options):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [COMMAND, "inspect", model, *options],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: cannot write standard output: No space left on device")
    assert b"Traceback" not in done.stderr


def test_sigterm_is_an_interruption_with_a_message(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        f"layers.{i}.q_proj.weight": rng.standard_normal((700, 700)).astype(np.float32)
        for i in range(40)
    }
    model = write_safetensors(tmp_path / "large.safetensors", arrays)
    command = [COMMAND, "analyze", str(model), "--out", str(tmp_path / "out"), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(
        path.read_bytes().count(b'{"index"') > 1
        for path in (tmp_path / "out").glob("*.partial.jsonl")
    ):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    message = stderr.decode("utf-8")
    assert "Error: SIGTERM: interrupted; " in message
    assert "of 40 rows are saved in" in message
    assert "Run the same command again" in message
    again = piped(*command[1:])
    assert again.returncode == 0, again.stderr
    # "1 row is" or "2 rows are": as many as were saved when the signal came.
    assert b" there already" in again.stderr


def test_masks_of_a_loaded_run_combine(model, tmp_path):
    frame = mlx_probe.analyze(model, out=tmp_path / "out").load()
    chosen = frame[(frame.layer_index == 0) & (frame.part == "q_proj")]
    assert len(chosen) == 0
    chosen = frame[(frame.layer_index == 0) & (frame.block_type == "q_proj")]
    assert chosen.param_name.tolist() == [WIDE]
    either = frame[(frame.part == "q_proj") | (frame.layer_index == 0)]
    assert len(either) == 2
