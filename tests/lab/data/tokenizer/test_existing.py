"""Tokenizers that are there already: folders, files, references, older layouts."""

import json
import shutil

import pytest
from hub_server import hub  # noqa: F401  a fixture
from tokenizer_texts import POEMS, STRINGS, TEXT

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.manifest import Manifest
from mlx_probe.lab.data.tokenize import tokenize
from mlx_probe.lab.data.tokenizer import load_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train_tokenizer(TokenizerConfig(kind="bytes"), 400, [TEXT, POEMS], folder)
    return folder


@pytest.mark.parametrize("name", ["", "tokenizer.json"])
def test_a_folder_or_its_file_is_copied_with_all_that_belongs_to_it(folder, name, tmp_path):
    config = TokenizerConfig(kind=str(folder / name))
    copy = train_tokenizer(config, 0, [], tmp_path / "copy")
    assert copy.fingerprint == load_tokenizer(folder).fingerprint
    assert copy.chat_template == load_tokenizer(folder).chat_template
    names = {path.name for path in folder.iterdir()}
    assert {path.name for path in (tmp_path / "copy").iterdir()} == names


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(folder, tmp_path):
    config = TokenizerConfig(kind=str(folder))
    with pytest.raises(ConfigError, match=r"has 400 tokens\n  Set model.vocabulary=0"):
        train_tokenizer(config, 399, [], tmp_path)
    assert train_tokenizer(config, 401, [], tmp_path).vocabulary == 400


def test_a_reference_fetches_the_tokenizer_without_the_weights(folder, hub, tmp_path):  # noqa: F811
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repos["owner/name"] = {
        "main": files | {"model.safetensors": b"weights", "config.json": b"{}"}
    }
    fetched = train_tokenizer(TokenizerConfig(kind="hf:owner/name"), 0, [], tmp_path / "copy")
    assert fetched.fingerprint == load_tokenizer(folder).fingerprint
    assert not [path for _, path in hub.requests if "model.safetensors" in path]


def test_gguf_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for path in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(SourceError, match=r"inside a GGUF file.*\n  Give the model that"):
            load_tokenizer(path)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"has no tokenizer.json\n  Give a folder"):
        load_tokenizer(tmp_path)


def test_a_kind_that_is_none_is_refused_with_the_kinds(tmp_path):
    with pytest.raises(SourceError, match=r"no tokenizer 'sentence'.*\n  .*sentencepiece or bytes"):
        train_tokenizer(TokenizerConfig(kind="sentence"), 0, [], tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b'{"model": {'),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", b'{"model": {"type": "BPE"}}'),
        ("tokenizer.json", b"\xff\xfe"),
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b"[]"),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / name).write_bytes(content)
    with pytest.raises(SourceError, match=name):
        load_tokenizer(tmp_path / "copy")


@pytest.mark.slow
def test_an_older_layout_is_converted(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    old = tmp_path / "old"
    old.mkdir()
    (old / "vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (old / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"}
    (old / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    tokenizer = load_tokenizer(old)
    assert tokenizer.exact_round_trip
    assert tokenizer.vocabulary == 400
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(STRINGS)] == STRINGS
    assert load_tokenizer(old).folder == tokenizer.folder


def test_an_inexact_round_trip_is_known(tmp_path):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {"[UNK]": 0, "to": 1, "be": 2}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    assert not ours.exact_round_trip
    assert ours.encode("To be be be") == [1, 2, 2, 2]
    assert (ours.bos_id, ours.eos_id, ours.chat_template) == (None, None, None)
    text = tmp_path / "text.txt"
    text.write_text("To be\nbe to\nto to\nbe", "utf-8")
    data = DataConfig((str(text),), document="line", validation=0.5, workers=1)
    manifest = tokenize(data, TokenizerConfig(kind=str(tmp_path)), 0, tmp_path / "tokens")
    assert not manifest.exact_round_trip
    assert any("not every one comes back" in note for note in manifest.notes)
    assert Manifest.read(tmp_path / "tokens") == manifest
