"""What tests of whole runs share beyond the tiny model: shards, the command in this process."""

import errno
import hashlib
import json
import shutil
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from tinymodel import weights
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis import order
from mlx_probe.analysis.progress import Silent
from mlx_probe.cli import cli
from mlx_probe.core import files
from mlx_probe.core.files import write_all
from mlx_probe.runs.load import read_table
from mlx_probe.runs.table import WRITERS


def write_single(folder, arrays):
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", arrays)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def write_shards(folder, arrays, count):
    """The tensors cut into ``count`` consecutive runs, with the index that joins them."""
    folder.mkdir(parents=True)
    names, weight_map = list(arrays), {}
    for i in range(count):
        part = names[i * len(names) // count : (i + 1) * len(names) // count]
        shard = f"model-{i + 1:05}-of-{count:05}.safetensors"
        write_safetensors(folder / shard, {name: arrays[name] for name in part})
        weight_map.update(dict.fromkeys(part, shard))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def invoke(*arguments, **environment):
    """The command without a process of its own: ten times as fast."""
    return CliRunner().invoke(cli, [str(a) for a in arguments], env=environment)


def refuses(result, *says, code=1):
    """One message, no traceback: what is no `SystemExit` would have been one."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert result.stderr.count("Error: ") == 1
    for text in says:
        assert text in result.stderr
    return result.stderr


class Watcher(Silent):
    """Calls a function after each row, with the number of rows so far."""

    def __init__(self, after_row=lambda rows: None):
        self.after_row = after_row
        self.started, self.finished, self.resumed = [], [], ()

    def begin(self, plan, finished):
        self.resumed = tuple(finished)

    def start(self, weight):
        self.started.append((weight.name, weight.expert_index))

    def finish(self, weight, usage):
        self.finished.append((weight.name, weight.expert_index))
        self.after_row(len(self.finished))


def interrupt_after(rows):
    def stop(finished):
        if finished == rows:
            raise KeyboardInterrupt

    return Watcher(stop)


class Disk:
    """A disk with as much room as a test says."""

    def __init__(self, monkeypatch):
        self.free = 50 * 10**9
        real = psutil.disk_usage("/")
        usage = lambda path: real._replace(free=self.free, total=100 * 10**9)  # noqa: E731
        monkeypatch.setattr(psutil, "disk_usage", usage)


@contextmanager
def disk_full_after(rows):
    """The disk takes so many rows of journals, and the beginning of the next one."""
    written = []

    def full(file, data):
        written.extend([data] if b'"index": ' in data else [])
        if len(written) > rows:
            write_all(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(file, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write_all", full)
        yield


def forge(folder, edit):
    """Replace a run's tables by ``edit`` of them, with metadata that lists them."""
    table, _, meta = read_table(folder)
    table = edit(table)
    for name, entry in meta["outputs"].items():
        path = folder / name
        WRITERS[path.suffix[1:]].write(table, path)
        content = path.read_bytes()
        entry.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    (folder / "run_meta.json").write_text(json.dumps(meta))
    return folder


def edit_meta(folder, edit):
    path = folder / "run_meta.json"
    meta = json.loads(path.read_text("utf-8"))
    edit(meta)
    path.write_text(json.dumps(meta), "utf-8")
    return folder


@pytest.fixture(scope="session")
def arrays():
    return weights(np.random.default_rng(0))


@pytest.fixture
def one_by_one(monkeypatch):
    """Each weight is a task: tests interrupt a run after an exact number of tiny ones."""
    monkeypatch.setattr(order, "TINY_TOGETHER", 1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, arrays):
    """Read only: tests that change a model take `model`."""
    return write_single(tmp_path_factory.mktemp("tiny") / "tiny", arrays)


@pytest.fixture(scope="session")
def whole(tiny, tmp_path_factory):
    """An uninterrupted run in every format. Read only: `copied` is for changing."""
    config = AnalyzeConfig(backend="numpy", metrics="full")
    out = tmp_path_factory.mktemp("whole") / "out"
    return mlx_probe.analyze(tiny, out=out, formats=list(WRITERS), config=config)


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole.folder, tmp_path / "copied")
