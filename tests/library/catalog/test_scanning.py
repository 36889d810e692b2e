"""The scan: models in folders are read once, and keep what is known of them."""

import hashlib
import json

import numpy as np
import pytest
from stores_on_disk import (
    CARD,
    COMMIT,
    config_file,
    folder_model,
    gguf_file,
    model_ids,
    model_named,
    safetensors_file,
)
from weightfiles import write_safetensors

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog import (
    add_tags,
    forget,
    load_models,
    remembered_folders,
    scan,
    scanning,
    set_note,
)
from mlx_probe.source.manifest import MANIFEST


def test_a_folder_with_several_kinds_of_models(database, tmp_path):
    root = tmp_path / "models"
    folder_model(root / "plain")
    (root / "plain" / "README.md").write_text(CARD)
    gguf_file(root / "ggufs" / "a.Q4.gguf", 1)
    gguf_file(root / "ggufs" / "b.Q8.gguf", 2)
    for part in (1, 2):
        write_safetensors(
            root / "ggufs" / f"x-{part:05}-of-00002.safetensors",
            {f"model.layers.{part}.mlp.up_proj.weight": np.ones((2, 2), np.float32)},
        )
    lora = {
        "base_model.model.layers.0.q_proj.lora_A.weight": np.ones((2, 4), np.float32),
        "base_model.model.layers.0.q_proj.lora_B.weight": np.ones((4, 2), np.float32),
    }
    (root / "deep" / "er").mkdir(parents=True)
    write_safetensors(root / "deep" / "er" / "adapter_model.safetensors", lora)
    config_file(
        root / "deep" / "er" / "adapter_config.json", r=2, base_model_name_or_path="owner/base"
    )
    (root / "deep" / "notes.bin").write_bytes(b"nothing of ours")
    (root / "deep" / "._model.gguf").write_bytes(b"nor this")
    report = scan(database, [root])
    assert report.troubles == []
    assert sorted(model_ids(database)) == [
        "er",
        "ggufs:a.Q4.gguf",
        "ggufs:b.Q8.gguf",
        "ggufs:x-00001-of-00002.safetensors",
        "plain",
    ]
    plain = model_named(database, "plain")
    assert (plain.format, plain.architecture, plain.parameters) == ("safetensors", "llama", 48)
    assert (plain.dtypes, plain.bits, plain.licence) == ({"F32": 48}, 32.0, "apache-2.0")
    assert plain.base_models == ("owner/base",)
    assert plain.description == "A tiny model for tests, of which little is said."
    assert plain.size == sum(p.stat().st_size for p in (root / "plain").iterdir())
    adapter = model_named(database, "er")
    assert (adapter.adapter, adapter.base_models) == ("lora", ("owner/base",))
    sharded = model_named(database, "x-00001")
    assert (len(sharded.weights), sharded.parameters, sharded.problem) == (2, 8, "")
    assert model_named(database, "a.Q4").path == root / "ggufs" / "a.Q4.gguf"


def test_a_model_and_its_adapter_in_one_folder_are_two(database, tmp_path):
    folder = folder_model(tmp_path / "both")
    lora = {"layers.0.q_proj.lora_a": np.ones((4, 2), np.float32)}
    write_safetensors(folder / "adapters.safetensors", lora)
    scan(database, [folder])
    assert model_ids(database) == ["both:adapters.safetensors", "both:model.safetensors"]
    assert [model.adapter for model in load_models(database)] == ["lora", ""]


def test_a_manifest_vouches_for_what_it_names(database, tmp_path):
    folder = folder_model(tmp_path / "local")
    status = (folder / "model.safetensors").stat()
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    entry = {
        "name": "model.safetensors",
        "size": status.st_size,
        "sha256": digest,
        "mtime_ns": status.st_mtime_ns,
    }
    manifest = {
        "format": 1,
        "source": "hub",
        "model": "owner/name",
        "revision": COMMIT,
        "endpoint": "https://huggingface.co",
        "created_at": "2026-01-01T00:00:00Z",
        "code_version": "0.1.0",
        "files": [entry],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    scan(database, [folder])
    model = model_named(database, "owner/name")
    assert (model.revision, model.weights[0].sha256) == (COMMIT, digest)
    entry["mtime_ns"] += 1
    (folder / MANIFEST).write_text(json.dumps(manifest))
    forget(database, load_models(database))
    scan(database, [folder])
    assert model_named(database, "owner/name").weights[0].sha256 == ""


def test_unchanged_models_are_not_read_again(database, tmp_path, monkeypatch):
    folder = folder_model(tmp_path / "a")
    folder_model(tmp_path / "b", 1)
    read = []
    original = scanning.read_model
    monkeypatch.setattr(
        scanning, "read_model", lambda f, s: read.append(f.files.model_id) or original(f, s)
    )
    scan(database, [tmp_path])
    assert sorted(read) == ["a", "b"]
    report = scan(database, [tmp_path])
    assert (len(read), report.unchanged, report.added, report.changed) == (2, 2, [], [])
    safetensors_file(folder / "model.safetensors", 9, rows=16)
    report = scan(database)
    assert [model.id for model in report.changed] == ["a"]
    assert model_named(database, "a").parameters == 80
    assert read[2:] == ["a"]


def test_a_vanished_model_keeps_its_note(database, tmp_path):
    folder = folder_model(tmp_path / "models" / "m")
    scan(database, [tmp_path / "models"])
    model = model_named(database, "m")
    set_note(database, model, "kept\nsafe")
    add_tags(database, model, ["good", "small"])
    folder.rename(tmp_path / "away")
    report = scan(database)
    assert [model.id for model in report.missing] == ["m"]
    gone = model_named(database, "m")
    assert (gone.missing, gone.note, gone.tags) == (True, "kept\nsafe", ("good", "small"))
    assert scan(database).missing == []
    (tmp_path / "away").rename(folder)
    scan(database)
    back = model_named(database, "m")
    assert (back.missing, back.note, back.tags) == (False, "kept\nsafe", ("good", "small"))


def test_scans_remember_their_folders(database, tmp_path):
    folder_model(tmp_path / "a" / "m")
    scan(database, [tmp_path / "a"])
    folder_model(tmp_path / "a" / "n", 2)
    scan(database)
    assert model_ids(database) == ["m", "n"]
    assert remembered_folders(database) == [tmp_path / "a"]
    forget(database, [], [tmp_path / "a"])
    assert remembered_folders(database) == []
    with pytest.raises(ConfigError, match="is no folder"):
        scan(database, [tmp_path / "none"])
    with pytest.raises(ConfigError, match="not among the folders"):
        forget(database, [], [tmp_path / "a"])


def meta(folder, **entries):
    folder.mkdir(parents=True)
    (folder / "run_meta.json").write_text(
        json.dumps({"created_at": "2026-02-03T04:05:06", **entries})
    )


def test_the_last_analysis(database, tmp_path):
    model = folder_model(tmp_path / "m")
    weights = str(model / "model.safetensors")
    runs = tmp_path / "runs"
    described = {"id": "m", "revision": "local", "weights": [weights]}
    seconds = {"open": 1.0, "measure": 2.0, "validate": 0.5, "write": 0.5, "read_in_workers": 9.0}
    meta(runs / "a", model=described, seconds=seconds, mean_gbps=1.5, peak_process_memory=10**9)
    meta(runs / "b", model={**described, "weights": ["/else"]})
    meta(runs / "c", kind="compare", models={"a": described, "b": {"weights": None}})
    meta(runs / "d", model=[], seconds="x")
    (runs / "e").mkdir()
    (runs / "e" / "x.run_meta.json").write_text("no json")
    report = scan(database, [model], runs=[runs, tmp_path / "none"])
    assert report.runs == 3
    model = model_named(database, "m")
    assert [(run.kind, run.path.parent.name) for run in model.analyses] == [
        ("analyze", "a"),
        ("compare", "c"),
    ]
    assert model.analyses[0].facts == {"gbps": 1.5, "peak_memory": 10**9, "seconds": 4.0}
    assert model.analyzed_at == "2026-02-03T04:05:06"
    (runs / "a" / "run_meta.json").unlink()
    scan(database, runs=[runs])
    assert model_named(database, "m").analyzed_at == ""
