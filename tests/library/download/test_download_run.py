"""Downloads from the Hub: whole, interrupted, stopped or paused by a rule."""

import json
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from hub_models import NEEDED, REPO, SHARDS, fetch
from hub_server import commit_of, digest
from weightfiles import safetensors_bytes

from mlx_probe.core.errors import ConfigError, Interrupted, SourceError, Stopped
from mlx_probe.library.download import DownloadConfig, plan_download, verify
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.source import parse_reference, resolve
from mlx_probe.source.manifest import MANIFEST, read_manifest
from mlx_probe.source.transfer.progress import DownloadProgress


def states(plan):
    return {item.file.name: item.state for item in plan.items}


class Stopper(DownloadProgress):
    """Presses Ctrl-C when so many bytes have come."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def count(self, received):
        super().count(received)
        if self.received >= self.limit:
            raise KeyboardInterrupt


@pytest.mark.parametrize("local", [True, False])
def test_a_model_its_record_and_its_log(hub, files, tmp_path, local):
    done = fetch(local_dir=tmp_path / "here" if local else None)
    commit = commit_of(f"{REPO}main")
    assert done.folder == (tmp_path / "here" if local else done.folder)
    assert {name: (done.folder / name).read_bytes() for name in NEEDED} == {
        name: files[name] for name in NEEDED
    }
    assert not (done.folder / "README.md").exists()
    manifest = read_manifest(done.folder)
    assert done.manifest == done.folder / MANIFEST
    assert (manifest.model, manifest.revision, manifest.endpoint) == (REPO, commit, hub.url)
    assert {f.name: (f.size, f.sha256) for f in manifest.files} == {
        name: (len(files[name]), digest(files[name])) for name in NEEDED
    }
    assert done.received == sum(len(files[name]) for name in NEEDED)
    log = done.log.read_text()
    assert "complete" in log
    assert done.log.parent == (done.folder if local else tmp_path / "cache/downloads/owner--name")
    samples = done.log.with_suffix(".monitor.parquet")
    assert len(pq.read_table(samples)) >= 2
    kept = {*NEEDED, MANIFEST, *([done.log.name, samples.name, ".mlx-probe"] if local else [])}
    assert {path.name for path in done.folder.iterdir()} == kept
    if not local:
        # What analyze finds, without a request for a file.
        hub.requests.clear()
        assert resolve(REPO).path == done.folder
        assert hub.downloaded() == []


@pytest.mark.parametrize("local", [True, False])
def test_what_is_verified_is_left_alone(hub, files, tmp_path, local, monkeypatch):
    settings = {"local_dir": tmp_path / "here" if local else None}
    fetch(**settings)
    hub.requests.clear()
    hashed = []
    monkeypatch.setattr("mlx_probe.library.download.plan.hash_file", lambda *a: hashed.append(a[0]))
    done = fetch(**settings)
    assert (done.received, hub.downloaded(), hashed) == (0, [], [])
    assert set(states(done.plan).values()) == {"verified"}


def test_without_a_record_what_is_there_is_hashed(hub, files, tmp_path):
    folder = fetch(local_dir=tmp_path / "here").folder
    (folder / MANIFEST).unlink()
    (folder / SHARDS[0]).write_bytes(files[SHARDS[0]][::-1])
    hub.requests.clear()
    hashed = []
    progress = DownloadProgress()
    progress.check = hashed.append
    done = fetch(progress=progress, local_dir=tmp_path / "here")
    assert states(done.plan)[SHARDS[0]] == "wrong"
    assert hub.downloaded() == [SHARDS[0]]
    assert (folder / SHARDS[0]).read_bytes() == files[SHARDS[0]]
    assert sum(hashed) == sum(len(files[name]) for name in NEEDED)


def test_a_touched_file_is_hashed_whatever_the_record_says(hub, files, tmp_path):
    folder = fetch(local_dir=tmp_path).folder
    (folder / SHARDS[1]).write_bytes(files[SHARDS[1]][::-1])
    assert states(fetch(local_dir=tmp_path).plan)[SHARDS[1]] == "wrong"
    assert (folder / SHARDS[1]).read_bytes() == files[SHARDS[1]]


def test_another_revision_replaces_the_files(hub, files, tmp_path):
    fetch(local_dir=tmp_path)
    done = fetch(local_dir=tmp_path, revision="v2")
    new = hub.repos[REPO]["v2"]
    assert [(done.folder / name).read_bytes() for name in NEEDED] == [new[n] for n in NEEDED]
    assert read_manifest(tmp_path).revision == commit_of(f"{REPO}v2")
    # The files that are the same in both did not come again.
    assert done.received == sum(len(new[name]) for name in SHARDS)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("limit", [1, 20_000, 45_000])
def test_interrupted_it_goes_on(hub, files, tmp_path, local, limit):
    settings = {"local_dir": tmp_path / "here" if local else None}
    hub.pace = 0.001
    first = Stopper(limit)
    with pytest.raises(Interrupted) as e:
        fetch(progress=first, **settings)
    assert e.value.exit_code == 130
    assert "is kept" in e.value.fact
    assert "same command again" in e.value.remedy
    hub.pace = 0
    plan = plan_download(parse_reference(REPO), DownloadConfig(**settings))
    if limit > 20_000:
        assert "partial" in states(plan).values()
    done = fetch(**settings)
    assert not verify(str(done.folder)).damaged
    assert first.received + done.received == sum(len(files[name]) for name in NEEDED)


def test_what_may_be_chosen(hub, files, tmp_path):
    fetch(local_dir=tmp_path / "a", include=("*.json",), exclude=("tokenizer*",))
    there = {path.name for path in (tmp_path / "a").glob("*.json")}
    assert there == {"config.json", "model.safetensors.index.json", MANIFEST}
    fetch(local_dir=tmp_path / "b", include=("onnx/*", "README.md"))
    assert (tmp_path / "b/onnx/model.onnx").read_bytes() == files["onnx/model.onnx"]
    fetch(local_dir=tmp_path / "c", exclude=(SHARDS[0],))
    assert not (tmp_path / "c" / SHARDS[0]).exists()
    with pytest.raises(ConfigError, match="no file of owner/name is left"):
        fetch(local_dir=tmp_path / "d", include=("*.gguf",))


def test_a_dry_run_writes_nothing(hub, files, tmp_path):
    folder = tmp_path / "here"
    plan = plan_download(parse_reference(REPO), DownloadConfig(folder))
    assert not folder.exists()
    assert plan.to_fetch == plan.size == sum(len(files[name]) for name in NEEDED)
    assert set(states(plan).values()) == {"missing"}
    assert set(hub.downloaded()).isdisjoint(SHARDS)


def test_a_disk_that_is_too_small(hub, files, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10_000})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(SourceError, match=r"needs 60\.0 kB more in .* has 10\.0 kB free") as e:
        fetch(local_dir=tmp_path / "here")
    assert "--local-dir" in e.value.remedy
    assert set(hub.downloaded()).isdisjoint(SHARDS)


def test_the_record_is_readable_by_others(hub, files, tmp_path):
    fetch(local_dir=tmp_path)
    content = json.loads((tmp_path / MANIFEST).read_text())
    assert set(content) == {
        "format",
        "source",
        "model",
        "revision",
        "endpoint",
        "created_at",
        "code_version",
        "files",
    }
    assert set(content["files"][0]) == {"name", "size", "sha256", "mtime_ns"}


class Fills(DownloadProgress):
    """A download that fills the disk when so many bytes have come, and waits for the verdict."""

    def __init__(self, limit):
        super().__init__()
        self.limit, self.looked = limit, threading.Event()

    @property
    def is_full(self):
        return self.received >= self.limit

    def count(self, received):
        if self.is_full:
            assert self.looked.wait(30)
        super().count(received)

    def free_space(self, folder):
        return (10 if self.is_full else 10**9), 10**12

    def alert(self, text, is_warning):
        # Called after the gate is closed.
        self.looked.set()


def test_a_rule_that_stops_a_download_keeps_what_is_there(hub, tmp_path, monkeypatch):
    size = 6 << 20
    body = np.random.default_rng(0).bytes(size)
    header = {"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    hub.repos[REPO] = {"main": {"model.safetensors": safetensors_bytes(header, body)}}
    settings = {"local_dir": tmp_path / "here", "workers": 1}
    progress = Fills(2 << 20)
    with monkeypatch.context() as patch:
        patch.setattr("mlx_probe.runs.monitor.readings.free_space", progress.free_space)
        rules = WatchConfig(alert=("disk below 1kB stop",), interval=0.01)
        with pytest.raises(Stopped, match="disk at 10 bytes") as stopped:
            fetch(progress=progress, watch=rules, **settings)
    assert stopped.value.exit_code == 75
    assert 2 << 20 <= progress.received < size
    again = fetch(**settings)
    assert again.received == len(hub.repos[REPO]["main"]["model.safetensors"]) - progress.received
    assert not verify(str(tmp_path / "here")).damaged


def test_a_rule_that_is_broken_from_the_beginning_lets_nothing_begin(hub, files):
    rules = WatchConfig(alert=("disk above 1kB stop",), interval=0.01)
    with pytest.raises(Stopped):
        fetch(watch=rules)
    assert not any(name.endswith(".safetensors") for name in hub.downloaded())


def test_a_download_waits_while_a_rule_pauses_it(hub, files, monkeypatch):
    progress, waited = Fills(sum(len(files[name]) for name in NEEDED) // 2), []

    def alert(text, is_warning):
        waited.append((text, progress.received))
        progress.limit = 1 << 60  # the disk is free again
        progress.looked.set()

    progress.alert = alert
    monkeypatch.setattr("mlx_probe.runs.monitor.readings.free_space", progress.free_space)
    rules = WatchConfig(alert=("disk below 1kB pause",), interval=0.01)
    done = fetch(progress=progress, watch=rules)
    paused, resumed = waited
    assert paused[0].startswith("paused: disk at 10 bytes")
    assert resumed[0].startswith("goes on after")
    assert done.received == sum(len(files[name]) for name in NEEDED)
