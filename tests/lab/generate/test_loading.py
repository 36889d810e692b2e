"""Opening a model: where it is, what is refused, and with which numbers it runs."""

import json
import shutil

import mlx.core as mx
import pytest
from lab import mlx_lm
from mlx.utils import tree_flatten
from tiny_llm import make_model

from mlx_probe.core.errors import CheckpointError, ConfigError, SourceError
from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.device import use_device
from mlx_probe.lab.generate.loading import load_model


@pytest.fixture(autouse=True)
def on_the_cpu():
    before = mx.default_device()
    use_device("cpu")
    yield
    mx.set_default_device(before)


@pytest.fixture
def model(tiny, tmp_path):
    return shutil.copytree(tiny.model, tmp_path / "model")


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_model_and_what_its_files_say(model):
    change(model / "generation_config.json", eos_token_id=[7, 9])
    loaded = load_model(str(model))
    assert (loaded.runs_by, loaded.dtype, loaded.context) == ("mlx-probe", "float32", 48)
    assert {7, 9, loaded.tokenizer.eos_id} <= loaded.stops
    assert loaded.first == ()


def test_bfloat16_is_computed_with_as_float32_on_a_cpu(tiny, tmp_path):
    tokenizer = load_tokenizer(tiny.tokenizer)
    loaded = load_model(str(make_model(tmp_path / "half", tokenizer, dtype="bfloat16")))
    assert loaded.dtype == "float32"
    assert {array.dtype for _, array in tree_flatten(loaded.model.parameters())} == {mx.float32}


def test_a_run_is_its_model(model, tmp_path):
    (tmp_path / "run_meta.json").write_text("{}")
    assert load_model(str(tmp_path)).folder == tmp_path / "model"
    shutil.rmtree(model)
    with pytest.raises(SourceError, match="without a finished model"):
        load_model(str(tmp_path))


def test_a_snapshot_has_the_tokenizer_of_its_run(model, tmp_path):
    snapshot = tmp_path / "snapshots" / "step-3"
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, snapshot)
    assert load_model(str(snapshot)).tokenizer.folder == model
    (model / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"has no tokenizer\.json"):
        load_model(str(snapshot))


def test_a_token_that_the_tokenizer_puts_first(model):
    tokenizer = load_tokenizer(model)
    name = tokenizer.decode([tokenizer.eos_id], special=True)
    first = {"SpecialToken": {"id": name, "type_id": 0}}
    change(
        model / "tokenizer.json",
        post_processor={
            "type": "TemplateProcessing",
            "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {name: {"id": name, "ids": [tokenizer.eos_id], "tokens": [name]}},
        },
    )
    change(model / "tokenizer_config.json", bos_token=name)
    assert load_model(str(model)).first == (tokenizer.eos_id,)


def test_other_layouts(model, tmp_path):
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match="truncated"):
        load_model(str(gguf))
    (model / "config.json").rename(model / "adapter_config.json")
    (model / "model.safetensors").rename(model / "adapters.safetensors")
    with pytest.raises(SourceError, match="is an adapter"):
        load_model(str(model))
    (model / "adapters.safetensors").rename(model / "model.safetensors")
    with pytest.raises(SourceError, match=r"no config\.json"):
        load_model(str(model))


def test_damaged_files(model):
    config = (model / "config.json").read_text()
    change(model / "config.json", intermediate_size=64)
    with pytest.raises(CheckpointError, match="has the shape"):
        load_model(str(model))
    (model / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(str(model))
    (model / "config.json").write_text(config)
    (model / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(str(model))


@pytest.mark.slow
def test_families_that_nobody_knows(model):
    mlx_lm("utils")
    change(model / "config.json", model_type="of_tomorrow")
    with pytest.raises(ConfigError, match="of_tomorrow"):
        load_model(str(model))
    change(model / "config.json", model_type="mistral")
    # mlx-lm has that one, and runs it as a llama.
    assert load_model(str(model)).runs_by == "mlx-lm"
    change(model / "config.json", num_hidden_layers=3)
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_model(str(model))
