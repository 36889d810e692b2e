"""Large weight files are known by hash, and nothing else is left out."""

import os

import numpy as np
import pytest
from backups import back_up, facts, restore
from weightfiles import write_safetensors

from mlx_probe.core.files import sha256_file
from mlx_probe.library.backup import check_weights
from mlx_probe.library.backup.weights import is_weights
from mlx_probe.library.catalog import open_database, scan

LARGE = 4000


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", {"x.weight": np.ones((40, 40), np.float32)})
    write_safetensors(folder / "small.safetensors", {"x.weight": np.ones((4, 4), np.float32)})
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "notes.safetensors").write_bytes(b"not weights at all " * 500)
    (folder / "train.log").write_text("a line\n" * 2000)
    return folder


def test_only_real_weights_of_some_size_are(model):
    size = lambda name: (model / name).stat().st_size  # noqa: E731
    found = {p.name for p in model.iterdir() if is_weights(p, size(p.name), LARGE)}
    assert found == {"model.safetensors"}
    assert not is_weights(model / "model.safetensors", size("model.safetensors"))
    # The Hub's cache names files by hashes.
    (model / "abcdef").hardlink_to(model / "model.safetensors")
    assert is_weights(model / "abcdef", size("abcdef"), LARGE)


def test_weights_are_kept_by_reference(model, tmp_path):
    weights = model / "model.safetensors"
    created = back_up(tmp_path / "repo", model, large=LARGE)
    (entry,) = created.weights
    assert (entry.sha256, entry.size) == (sha256_file(weights), weights.stat().st_size)
    assert created.snapshot.totals.weights == 1
    restored = restore(tmp_path / "repo", tmp_path / "out")
    there = facts(tmp_path / "out" / "tiny")[0]
    was = facts(model)[0]
    assert {*was} - {*there} == {b"model.safetensors"}
    (check,) = check_weights(restored.weights, restored.snapshot.base)
    assert (check.state, check.path) == ("there", weights)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (check,) = check_weights(restored.weights, restored.snapshot.base)
    assert check.state == "changed"
    weights.unlink()
    (check,) = check_weights(restored.weights, restored.snapshot.base)
    assert check.state == "missing"


def test_weights_are_stored_on_request(model, tmp_path):
    back_up(tmp_path / "repo", model, large=LARGE)
    created = back_up(tmp_path / "repo", model, large=LARGE, include_weights=True)
    assert created.weights == ()
    restore(tmp_path / "repo", tmp_path / "out")
    assert facts(tmp_path / "out" / "tiny") == facts(model)


def test_weights_are_hashed_once(model, tmp_path, monkeypatch):
    monkeypatch.setattr("mlx_probe.library.backup.create._TICK", 0)
    first = back_up(tmp_path / "repo", model, large=LARGE)

    def refuse(*arguments):
        raise AssertionError

    monkeypatch.setattr("mlx_probe.library.catalog.hashing.hash_file", refuse)
    again = back_up(tmp_path / "repo", model, large=LARGE)
    assert [each.sha256 for each in again.weights] == [each.sha256 for each in first.weights]


def test_the_catalog_says_where_weights_come_from(model, tmp_path):
    readme = "---\nbase_model: x/y\n---\n"
    (model / "README.md").write_text(readme)
    database = tmp_path / "catalog.sqlite"
    with open_database(database) as opened:
        scan(opened, [model.parent], [])
        opened.run("UPDATE models SET id = 'org/tiny', revision = 'abc', url = 'https://x'")
    created = back_up(tmp_path / "repo", model, large=LARGE, database=database)
    (entry,) = created.weights
    assert entry.origin == {"model": "org/tiny", "revision": "abc", "url": "https://x"}
    assert os.fspath(database) not in str(created)
