"""The texts of tokens, from every file that may hold them."""

import json
import struct

import numpy as np
import pytest
from weightfiles import gguf_bytes, pair, text, write_safetensors

import mlx_probe
from mlx_probe.core.errors import CheckpointError

STRING, ARRAY = 8, 9


def tokens_of(path):
    with mlx_probe.open_checkpoint(path) as checkpoint:
        return checkpoint.tokens()


def gguf(path, *tokens):
    strings = b"".join(text(token) for token in tokens)
    numbers = struct.pack("<IQ", 4, 3) + struct.pack("<3I", 1, 2, 3)
    listed = struct.pack("<IQ", STRING, len(tokens)) + strings
    pairs = [
        pair("general.architecture", STRING, text("llama")),
        pair("general.alignment", 4, struct.pack("<I", 32)),
        pair("tokenizer.ggml.token_type", ARRAY, numbers),
        *([pair("tokenizer.ggml.tokens", ARRAY, listed)] if tokens else []),
    ]
    path.write_bytes(gguf_bytes(pairs))
    return path


@pytest.fixture
def folder(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"a": (np.zeros((2, 2), np.float32), "F32")})
    return tmp_path


def tokenizer(folder, model, **more):
    whole = {"model": model, **more}
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")


def test_gguf_with_bytes_as_letters(tmp_path):
    path = gguf(tmp_path / "a.gguf", "<|im_start|>", "Ġthe", "Ċ", "ä¸Ń", "ä", "a\u2581b")
    assert tokens_of(path) == ("<|im_start|>", " the", "\n", "中", r"\xe4", "a\u2581b")


def test_gguf_with_spaces_as_sentencepiece_writes_them(tmp_path):
    assert tokens_of(gguf(tmp_path / "a.gguf", "<s>", "\u2581the", "ä")) == ("<s>", " the", "ä")


def test_gguf_without_tokens(tmp_path):
    assert tokens_of(gguf(tmp_path / "a.gguf")) == ()


def test_gguf_that_is_cut(tmp_path):
    path = gguf(tmp_path / "a.gguf", "one", "two")
    with mlx_probe.open_checkpoint(path) as checkpoint:
        path.write_bytes(path.read_bytes()[:150])
        with pytest.raises(CheckpointError, match=r"do not fit|truncated"):
            checkpoint.tokens()


def test_byte_level_pairs_with_added_tokens(folder):
    tokenizer(
        folder,
        {"type": "BPE", "vocab": {"Ġthe": 1, "a": 0}},
        added_tokens=[{"id": 4, "content": "<end>"}],
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]},
    )
    assert tokens_of(folder) == ("a", " the", "", "", "<end>")


def test_unigrams(folder):
    tokenizer(folder, {"type": "Unigram", "vocab": [["<unk>", 0.0], ["\u2581the", -1.5]]})
    assert tokens_of(folder) == ("<unk>", " the")


def test_older_files(folder):
    (folder / "vocab.txt").write_text("[PAD]\n##ing\n\u2028\n", "utf-8")
    assert tokens_of(folder) == ("[PAD]", "##ing", "\u2028")
    (folder / "vocab.json").write_text(json.dumps({"Ġa": 0}), "utf-8")
    assert tokens_of(folder) == (" a",)


def test_no_file(folder):
    assert tokens_of(folder) == ()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"model": {}}', '{"model": {"vocab": {"a": 99999999999}}}', "[" * 99999]
)
def test_damaged_files_are_refused(folder, content):
    (folder / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        tokens_of(folder)


def test_every_byte_has_a_letter(folder):
    from mlx_probe.checkpoint.vocabulary import _bytes_of_letters

    assert sorted(_bytes_of_letters().values()) == list(range(256))
    assert _bytes_of_letters()["Ġ"] == 0x20


def test_values_are_the_elements(folder):
    with mlx_probe.open_checkpoint(folder) as checkpoint:
        (weight,) = checkpoint.weights()
        assert np.concatenate(list(weight.values())).tolist() == [[0, 0], [0, 0]]
