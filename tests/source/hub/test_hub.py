import json
import logging
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
from hub_server import TOKEN, commit_of
from weightfiles import whole, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import ProbeError, SourceError
from mlx_probe.source import resolve

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
NEEDED = ["config.json", *SHARDS, "model.safetensors.index.json"]


@pytest.fixture
def sharded(hub, weights):
    index = {"weight_map": {"a": SHARDS[1], "b": SHARDS[0], "c": SHARDS[1]}}
    files = {
        "README.md": b"# A model",
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b"{}",
        "pytorch_model.bin": weights,
        "onnx/model.onnx": weights,
        "original/model.safetensors": weights,
        "model.safetensors.index.json": json.dumps(index).encode(),
        SHARDS[0]: weights + b"1",
        SHARDS[1]: weights + b"22",
    }
    hub.repos["owner/name"] = {
        "main": files,
        "v2": {"model.safetensors": weights + b"v2", "README.md": b"Two"},
    }
    return files


@pytest.fixture
def no_sleep(monkeypatch):
    """Retries at once: huggingface_hub waits a second before each of five."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def test_fetches_only_the_needed_files(hub, sharded):
    files = resolve("owner/name")
    assert hub.downloaded() == sorted(NEEDED)
    assert files.model_id == "owner/name"
    assert files.revision == commit_of("owner/namemain")
    assert [path.name for path in files.weights] == list(SHARDS)
    assert [path.read_bytes() for path in files.weights] == [sharded[name] for name in SHARDS]
    assert files.index == files.path / "model.safetensors.index.json"
    assert files.config.read_bytes() == sharded["config.json"]


def test_what_was_fetched_opens(hub, tmp_path):
    arrays = {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float32)}
    index = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}
    files = {"model.safetensors.index.json": json.dumps(index).encode()}
    for name, shard in index["weight_map"].items():
        path = write_safetensors(tmp_path / shard, {name: arrays[name]})
        files[shard] = path.read_bytes()
    hub.repos["owner/real"] = {"main": files}
    with open_checkpoint(resolve("owner/real")) as checkpoint:
        for weight in checkpoint.weights():
            np.testing.assert_array_equal(whole(weight), arrays[weight.name])


@pytest.mark.parametrize("how", ["at", "option", "commit"])
def test_fetches_the_revision(hub, sharded, how):
    commit = commit_of("owner/namev2")
    files = {
        "at": lambda: resolve("hf:owner/name@v2"),
        "option": lambda: resolve("owner/name", "v2"),
        "commit": lambda: resolve("owner/name", commit),
    }[how]()
    assert files.revision == commit
    assert [path.name for path in files.weights] == ["model.safetensors"]
    assert files.weights[0].read_bytes() == sharded[SHARDS[0]][:-1] + b"v2"
    assert (files.index, files.config) == (None, None)
    assert hub.downloaded() == ["model.safetensors"]


def test_second_fetch_downloads_nothing(hub, sharded):
    first = resolve("owner/name")
    hub.requests.clear()
    assert resolve("owner/name") == first
    assert hub.downloaded() == []


@pytest.mark.parametrize("cut", ["gone", 429, 500, 503, "offline"])
@pytest.mark.parametrize("revision", [None, "v2"])
def test_without_the_hub_the_cache_is_used(hub, sharded, monkeypatch, caplog, cut, revision):
    first = resolve("owner/name", revision)
    if cut == "gone":
        hub.stop()
    elif cut != "offline":
        hub.failing = cut
    else:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve("owner/name", revision) == first
    assert "owner/name: no answer from the Hub" in caplog.text


@pytest.mark.parametrize(
    ("status", "fact"),
    [
        (400, "the Hub answers 400 for owner/name"),
        (403, "the Hub answers 403 for owner/name"),
        (429, "not complete in the cache, and the Hub does not answer"),
        (500, "not complete in the cache, and the Hub does not answer"),
    ],
)
def test_a_hub_that_fails_and_nothing_cached(hub, sharded, status, fact):
    hub.failing = status
    with pytest.raises(SourceError, match=fact):
        resolve("owner/name")


@pytest.mark.parametrize("fault", ["none", "missing", "gated", "short", "failing", "gone"])
def test_the_token_is_sent_and_never_shown(hub, sharded, no_sleep, caplog, capfd, fault):
    caplog.set_level(logging.DEBUG)
    resolve("owner/name@v2")
    # The Hub gets it, the host that it redirects to does not.
    assert hub.tokens == {("127.0.0.1", f"Bearer {TOKEN}"), ("localhost", None)}
    if fault == "gated":
        hub.gated.add("owner/name")
    elif fault == "short":
        hub.short.update(SHARDS)
    elif fault == "failing":
        hub.failing = 500
    elif fault == "gone":
        hub.stop()
    shown = ""
    try:
        resolve("owner/missing" if fault == "missing" else "owner/name")
    except SourceError as error:
        shown = "".join(traceback.format_exception(error))
    assert bool(shown) == (fault != "none")
    assert TOKEN not in shown + caplog.text + "".join(capfd.readouterr())


def test_without_the_hub_and_nothing_cached(hub, sharded):
    hub.stop()
    with pytest.raises(SourceError, match="not complete in the cache, and the Hub does not") as e:
        resolve("owner/name")
    assert "Connect" in e.value.fact
    assert "HF_HUB_OFFLINE" in e.value.remedy


def test_without_the_hub_half_a_model_is_none(hub, sharded):
    resolve("owner/name").weights[1].unlink()
    hub.stop()
    with pytest.raises(SourceError, match="not complete in the cache"):
        resolve("owner/name")


def test_without_the_hub_another_file_is_not_there(hub, weights):
    hub.repos["owner/name"] = {"main": {"a.gguf": weights, "b.gguf": weights}}
    resolve("owner/name:a.gguf")
    hub.stop()
    assert resolve("owner/name:a.gguf").weights[0].name == "a.gguf"
    with pytest.raises(SourceError, match="not complete in the cache"):
        resolve("owner/name:b.gguf")


@pytest.mark.parametrize(
    ("text", "fact", "remedy"),
    [
        ("owner/missing", "has no model owner/missing, or it is private", "HF_TOKEN"),
        ("owner/name@v3", "owner/name has no revision 'v3'", "branch, tag or full commit"),
        ("owner/gated", "owner/gated is gated", "log in with `hf auth login`"),
        ("owner/other", "owner/other has no weights", ".gguf"),
        ("owner/na--me", "Cannot have -- or ..", "spelling"),
        ("owner/name:x.gguf", "no weights named 'x.gguf'", ".safetensors"),
        ("owner/quants", "Q4.gguf (10.2 kB), Q8.gguf (10.2 kB)", "MODEL:FILE"),
        ("owner/hole", "model.safetensors.index.json names gone.safetensors", "revision"),
    ],
)
def test_refusals(hub, sharded, weights, text, fact, remedy):
    hub.repos["owner/gated"] = {"main": {"model.safetensors": weights}}
    hub.repos["owner/other"] = {"main": {"model.onnx": weights}}
    hub.repos["owner/quants"] = {"main": {"Q4.gguf": weights, "Q8.gguf": weights}}
    hole = b'{"weight_map": {"a": "gone.safetensors"}}'
    hub.repos["owner/hole"] = {"main": {"model.safetensors.index.json": hole}}
    hub.gated.add("owner/gated")
    with pytest.raises(SourceError) as e:
        resolve(text)
    assert fact in e.value.fact
    assert remedy in e.value.remedy
    assert TOKEN not in str(e.value)


@pytest.mark.parametrize("name", ["../../../evil.safetensors", "/evil.safetensors", "a/../x.gguf"])
def test_listing_that_leaves_the_cache(hub, weights, tmp_path, name):
    hub.repos["owner/evil"] = {"main": {name: weights}}
    with pytest.raises(SourceError):
        resolve("owner/evil")
    assert not [path for path in tmp_path.rglob("*") if path.name in ("evil.safetensors", "x.gguf")]


def test_picked_name_is_no_pattern(hub, weights):
    hub.repos["owner/odd"] = {"main": {"m[1].gguf": weights, "m1.gguf": weights}}
    files = resolve("owner/odd:m[1].gguf")
    assert [path.name for path in files.weights] == ["m[1].gguf"]
    assert hub.downloaded() == ["m[1].gguf"]


def test_index_that_leaves_the_folder(hub):
    index = b'{"weight_map": {"a": "../../x.safetensors"}}'
    hub.repos["owner/evil"] = {"main": {"model.safetensors.index.json": index}}
    with pytest.raises(ProbeError, match="outside of the folder"):
        resolve("owner/evil")


@pytest.mark.parametrize("way", ["short", "dropped"])
def test_truncated_body(hub, sharded, no_sleep, way):
    getattr(hub, way).add(SHARDS[1])
    with pytest.raises(SourceError) as e:
        resolve("owner/name")
    assert f"cannot download {SHARDS[1]}: " in e.value.fact
    assert {"short": "bytes, not 10242", "dropped": "broke off"}[way] in e.value.fact
    getattr(hub, way).clear()
    files = resolve("owner/name")
    assert files.weights[1].read_bytes() == sharded[SHARDS[1]]


def test_cached_file_of_the_wrong_size(hub, sharded):
    blob = resolve("owner/name").weights[0].resolve()
    blob.write_bytes(b"short")
    hub.requests.clear()
    assert resolve("owner/name").weights[0].read_bytes() == sharded[SHARDS[0]]
    assert blob.read_bytes() == sharded[SHARDS[0]]
    assert hub.downloaded() == [SHARDS[0]]


def test_disk_too_small(hub, sharded, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000})())
    with pytest.raises(SourceError, match=r"needs 20\.5 kB more in .* has 10\.0 kB free") as e:
        resolve("owner/name")
    assert "HF_HOME" in e.value.remedy
    assert set(hub.downloaded()).isdisjoint(SHARDS)


def test_cache_that_cannot_be_written(hub, sharded, tmp_path):
    (tmp_path / "hub").write_text("a file where the cache should be")
    with pytest.raises(SourceError, match="cannot download owner/name: NotADirectoryError"):
        resolve("owner/name")


def test_branch_that_moves_during_the_download(hub, sharded, monkeypatch):
    moved = {"refs": 0}
    answer = hub.files

    def move(repo, revision):
        moved["refs"] += revision == "main"
        return answer(repo, "v2" if revision == "main" and moved["refs"] > 1 else revision)

    monkeypatch.setattr(hub, "files", move)
    files = resolve("owner/name")
    assert files.revision == commit_of("owner/namemain")
    assert [path.read_bytes() for path in files.weights] == [sharded[name] for name in SHARDS]


@pytest.mark.parametrize("endpoint", ["no address", "http://127.0.0.1:1"])
def test_endpoint_that_is_none(hub, monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(SourceError):
        resolve("owner/name")


def test_endpoint_from_the_environment_without_output(hub, sharded, tmp_path):
    code = (
        "import sys, mlx_probe.source as s; assert 'huggingface_hub' not in sys.modules;"
        "sys.stderr.write(s.resolve('owner/name').revision)"
    )
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "NO_PROXY": "127.0.0.1,localhost",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", commit_of("owner/namemain"))
    assert list(Path(tmp_path / "home" / "hub").glob("models--owner--name"))


def test_what_an_interrupted_analysis_fetched_is_kept(hub, sharded, monkeypatch):
    from mlx_probe.source.transfer.progress import DownloadProgress

    real = DownloadProgress.count

    def stop(self, received):
        real(self, received)
        if received > 1000:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DownloadProgress, "count", stop)
        with pytest.raises(KeyboardInterrupt):
            resolve("owner/name")
    sent = hub.sent.copy()
    assert [path.read_bytes() for path in resolve("owner/name").weights] == [
        sharded[name] for name in SHARDS
    ]
    # In one of the two files at least something was left to go on from.
    assert sum((hub.sent - sent)[name] for name in SHARDS) < sum(len(sharded[n]) for n in SHARDS)


def test_the_cache_serves_huggingface_hub_too(hub, sharded):
    from huggingface_hub import hf_hub_download, snapshot_download

    folder = resolve("owner/name").path
    hub.requests.clear()
    for name in NEEDED:
        assert hf_hub_download("owner/name", name, endpoint=hub.url) == str(folder / name)
    assert snapshot_download("owner/name", endpoint=hub.url, allow_patterns=NEEDED) == str(folder)
    assert hub.downloaded() == []


def test_what_huggingface_hub_fetched_is_used(hub, sharded):
    from huggingface_hub import snapshot_download

    folder = snapshot_download("owner/name", endpoint=hub.url, allow_patterns=NEEDED)
    hub.requests.clear()
    assert str(resolve("owner/name").path) == folder
    assert hub.downloaded() == []


def test_files_that_do_not_come_leave_the_older_copy(hub, sharded, no_sleep, caplog):
    old = resolve("owner/name")
    hub.generation = "newer"
    hub.repos["owner/name"]["main"] = {**sharded, SHARDS[0]: b"new"}
    hub.dropped.add(SHARDS[0])
    hub.short.add(SHARDS[0])
    assert resolve("owner/name") == old
    assert "the copy in the cache, since cannot download" in caplog.text
    hub.dropped.clear()
    hub.short.clear()
    assert resolve("owner/name").weights[0].read_bytes() == b"new"
