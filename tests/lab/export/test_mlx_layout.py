"""Models in mlx-lm's layout: the bits of `mlx_lm.convert`, and what is refused."""

import json

import mlx.core as mx
import pytest
from lab import mlx_lm
from tiny_llm import make_model, make_tokenizer

from mlx_probe.core.errors import CheckpointError, ConfigError, ResultError, SourceError
from mlx_probe.lab.export import EXPORTS

export = EXPORTS["mlx"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    mlx_lm("utils")
    root = tmp_path_factory.mktemp("mlx")
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(root / "tokenizer")
        return make_model(root / "model", tokenizer, dim=64, hidden=128, dtype="bfloat16")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("4bit", {"quantize": True, "q_bits": 4}), ("f16", {"dtype": "float16"}), ("auto", {})],
)
def test_the_same_bits(tmp_path, model, kind, settings, capsys):
    convert = mlx_lm("convert").convert
    with mx.stream(mx.cpu):
        exported = export(str(model), tmp_path / "ours", kind)
        assert capsys.readouterr().out == ""
        convert(str(model), str(tmp_path / "theirs"), **settings)
        ours, theirs = (
            mx.load(str(tmp_path / name / "model.safetensors")) for name in ("ours", "theirs")
        )
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            assert ours[name].dtype == array.dtype
            assert mx.array_equal(ours[name], array)
    configs = [
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("ours", "theirs")
    ]
    assert configs[0].get("quantization") == configs[1].get("quantization")
    assert exported.type == ("bfloat16" if kind == "auto" else kind)
    assert exported.tensors == len(ours)
    assert exported.architecture == "llama"
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (model / name).read_bytes()


def test_what_is_refused(tmp_path, model):
    with mx.stream(mx.cpu):
        export(str(model), tmp_path / "packed", "8bit")
        with pytest.raises(CheckpointError, match="is packed already"):
            export(str(tmp_path / "packed"), tmp_path / "again", "4bit")
        with pytest.raises(ResultError, match="is not empty"):
            export(str(model), tmp_path / "packed", "4bit")
        with pytest.raises(ConfigError, match="writes no 7bit"):
            export(str(model), tmp_path / "x", "7bit")
        with pytest.raises(SourceError):
            export(str(tmp_path / "none"), tmp_path / "x")
    assert not (tmp_path / "again").exists()
