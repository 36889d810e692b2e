"""Training by two processes over MLX's ring on loopback: the same losses, and losses of processes.

Every process is one of its own, as a launcher starts them.
"""

import json
import os
import signal
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from tiny_llm import TEXTS
from tinymodel import COMMAND

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.distributed.agreement import check_batch
from mlx_probe.lab.train.distributed.launch import _ports
from mlx_probe.lab.train.train import train

pytestmark = pytest.mark.slow

CHANGES = (
    "model.dim=16", "model.layers=1", "model.heads=2", "model.kv_heads=1", "model.hidden=32",
    "model.vocabulary=320", "model.context=16", "train.steps=50", "train.batch=4",
    "train.accumulation=2", "train.warmup=5", "train.evaluate_every=25",
    "train.checkpoint_every=10", "train.compile=never", "data.document=line",
    "snapshots.per_decade=0",
)  # fmt: skip
OPTIONS = [word for change in CHANGES for word in ("--set", change)]
# Values of a moment.
TIMES = ("tokens_per_second", "seconds")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    words = " ".join(TEXTS).split()
    draw = np.random.default_rng(0)
    path.write_text("\n".join(" ".join(draw.choice(words, 9)) for _ in range(300)))
    return path


@pytest.fixture(scope="module")
def together(text, tmp_path_factory):
    """A run of two processes on this machine."""
    out = tmp_path_factory.mktemp("together") / "run"
    command = [COMMAND, "train", "--data", text, "--out", out, *OPTIONS, "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "50 of 50 steps" in done.stdout
    return out


@pytest.fixture(scope="module")
def tokens(together):
    """What the text became: not every run has to make it again."""
    return together / "data"


class Two:
    """Two processes, started as `mlx.launch` does."""

    def __init__(self, folder, data, out, more=("",) * 2, silence=20):
        hosts = folder / "hosts.json"
        hosts.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in _ports(2)]))
        self.processes = [
            subprocess.Popen(
                [COMMAND, "train", "--data", data, "--out", out, *OPTIONS, *extra.split()],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={
                    **os.environ,
                    "MLX_RANK": str(rank),
                    "MLX_HOSTFILE": str(hosts),
                    "MLX_PROBE_PEER_SILENCE": str(silence),
                },
            )
            for rank, extra in enumerate(more)
        ]

    def ends(self):
        """Exit codes and standard errors."""
        errors = [process.communicate(timeout=120)[1] for process in self.processes]
        return [process.returncode for process in self.processes], errors


def lines(out):
    path = out / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def without_times(out):
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines(out)]


def wait_for_steps(two, out, count):
    end = time.monotonic() + 60
    while len(lines(out)) < count and time.monotonic() < end:
        assert two.processes[0].poll() is None, two.processes[0].stderr.read()
        time.sleep(0.02)


def test_two_processes_have_the_losses_of_one(together, text, tmp_path):
    run = train(read_settings(Recipe, None, CHANGES), tmp_path / "alone", data=[text], device="cpu")
    alone, both = lines(run.folder), lines(together)
    assert [line["step"] for line in both] == list(range(51))
    for name in ("train_loss", "grad_norm", "val_loss", "val_bpb", "tokens", "learning_rate"):
        one = [line[name] for line in alone if name in line]
        two = [line[name] for line in both if name in line]
        np.testing.assert_allclose(two, one, rtol=1e-5)
    meta = json.loads((together / "run_meta.json").read_text())
    assert (meta["world"], run.meta["world"]) == (2, 1)


def test_a_killed_process_is_named_and_the_run_goes_on(together, tokens, tmp_path):
    out = tmp_path / "run"
    two = Two(tmp_path, tokens, out)
    wait_for_steps(two, out, 14)
    two.processes[1].kill()
    (code, killed), (error, _) = two.ends()
    assert (code, killed) == (75, -signal.SIGKILL)
    assert "process 1 on " in error
    assert "is lost" in error
    # The last complete step is saved, not only every tenth.
    last = lines(out)[-1]["step"]
    assert (out / "checkpoints" / f"step-{last}").is_dir()
    command = [COMMAND, "train", "--data", tokens, "--out", out, *OPTIONS, "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert without_times(out) == without_times(together)


def test_a_frozen_process_is_lost_after_its_silence(tokens, tmp_path):
    out = tmp_path / "run"
    two = Two(tmp_path, tokens, out, silence=2)
    wait_for_steps(two, out, 5)
    two.processes[1].send_signal(signal.SIGSTOP)
    error = two.processes[0].communicate(timeout=60)[1]
    two.processes[1].kill()
    two.processes[1].communicate()
    assert two.processes[0].returncode == 75
    assert "process 1 on " in error


def test_the_loss_of_process_0_ends_the_others(tokens, tmp_path):
    out = tmp_path / "run"
    two = Two(tmp_path, tokens, out)
    wait_for_steps(two, out, 3)
    two.processes[0].kill()
    (_, code), (_, error) = two.ends()
    assert code == 75
    assert "process 0 on " in error


def test_a_signal_to_any_process_stops_all(tokens, tmp_path):
    out = tmp_path / "run"
    two = Two(tmp_path, tokens, out)
    wait_for_steps(two, out, 3)
    two.processes[1].send_signal(signal.SIGTERM)
    codes, (error, _) = two.ends()
    assert codes == [143, 143]
    last = lines(out)[-1]["step"]
    assert last < 50
    assert f"interrupted after step {last}" in error
    assert (out / "checkpoints" / f"step-{last}").is_dir()


def test_a_killed_launcher_ends_its_processes_with_a_checkpoint(tokens, tmp_path):
    out = tmp_path / "run"
    command = [COMMAND, "train", "--data", tokens, "--out", out, *OPTIONS, "--processes", "2"]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_steps(SimpleNamespace(processes=[launcher]), out, 3)
    started = psutil.Process(launcher.pid).children()
    launcher.kill()
    launcher.wait()
    assert len(started) == 2
    assert psutil.wait_procs(started, timeout=60)[1] == []
    last = lines(out)[-1]["step"]
    assert last < 50
    assert (out / "checkpoints" / f"step-{last}").is_dir()


def test_processes_that_would_train_something_else(tokens, tmp_path):
    two = Two(tmp_path, tokens, tmp_path / "run", ("", "--set train.seed=1"))
    codes, errors = two.ends()
    assert codes == [2, 2]
    for error in errors:
        assert "process 1 on " in error
        assert "another recipe" in error


def test_a_batch_that_two_cannot_share():
    check_batch(4, SimpleNamespace(size=2))
    with pytest.raises(ConfigError, match="3, which 2 processes cannot share"):
        check_batch(3, SimpleNamespace(size=2))
