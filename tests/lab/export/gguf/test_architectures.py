"""Every architecture: names and shapes that the gguf package knows, every bit, what is refused."""

import json
import shutil

import gguf
import numpy as np
import pytest
from exported import export, metadata, stored, write_config
from safetensors.numpy import load_file, save_file
from tiny_llm import make_tokenizer

from mlx_probe.core.errors import CheckpointError
from mlx_probe.lab.export.gguf.architectures import ARCHITECTURES
from mlx_probe.lab.export.gguf.read_shape import read_shape

SIZES = {
    "hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 48, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "vocab_size": 320,
}  # fmt: skip
MORE = {
    "mistral": {"sliding_window": None},
    "qwen3_moe": {
        "num_local_experts": 3,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 20,
        "norm_topk_prob": True,
    },
    "gemma": {"hidden_act": "gelu_pytorch_tanh"},
    "gemma2": {"query_pre_attn_scalar": 16, "sliding_window": 8},
    "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window": 8},
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("bytes"), kind="bytes", vocabulary=320)


def config(model_type):
    return {"model_type": model_type, **SIZES, **MORE.get(model_type, {})}


def write(folder, tokenizer, model_type):
    """A model of an architecture with random weights, by the table itself."""
    folder.mkdir(parents=True)
    said = config(model_type)
    (folder / "config.json").write_text(json.dumps(said))
    rng = np.random.default_rng(5)
    weights = {}
    for place in ARCHITECTURES[model_type].places(read_shape(folder, said)):
        shape = place.shape[1:] if len(place.sources) > 1 else place.shape
        for source in place.sources:
            weights[source] = rng.standard_normal(shape).astype("f4")
    save_file(weights, folder / "model.safetensors")
    for path in tokenizer.folder.iterdir():
        shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_names_and_bits(tmp_path, tokenizer, model_type):
    folder = write(tmp_path / "model", tokenizer, model_type)
    exported = export(folder, tmp_path / "m.gguf")
    architecture = ARCHITECTURES[model_type]
    assert exported.architecture == architecture.name
    number = {name: each for each, name in gguf.MODEL_ARCH_NAMES.items()}[architecture.name]
    known = gguf.get_tensor_name_map(number, 6)
    source, tensors = load_file(folder / "model.safetensors"), stored(tmp_path / "m.gguf")
    left = set(source)
    for place in architecture.places(read_shape(folder, config(model_type))):
        dtype, got = tensors.pop(place.name)
        assert dtype == "F32"
        # What llama.cpp's own converter calls it; Gemma 2's names mean other norms there.
        name = place.stack.replace("switch_mlp", "experts") if place.stack else place.sources[0]
        theirs = known.get_name(name, try_suffixes=(".weight", ".bias"))
        assert theirs == place.name or "norm" in place.name, (name, theirs)
        want = [source[each] for each in place.sources]
        left -= set(place.sources)
        want = np.stack(want) if len(want) > 1 else want[0]
        # Rows of queries and keys in llama.cpp's order are another test's.
        if place.turned_heads:
            got, want = np.sort(got, 0), np.sort(want, 0)
        np.testing.assert_array_equal(got.reshape(want.shape), want + np.float32(place.added))
    assert not left
    assert not tensors
    said = metadata(tmp_path / "m.gguf")
    assert said["general.architecture"] == architecture.name
    assert said[f"{architecture.name}.attention.head_count"] == 4


def test_a_stack_of_experts_as_mlx_lm_writes_it(tmp_path, tokenizer):
    folder = write(tmp_path / "model", tokenizer, "qwen3_moe")
    export(folder, tmp_path / "plain.gguf", "q8_0")
    weights = load_file(folder / "model.safetensors")
    for layer in range(6):
        for name in ("gate_proj", "up_proj", "down_proj"):
            prefix = f"model.layers.{layer}.mlp"
            each = [weights.pop(f"{prefix}.experts.{i}.{name}.weight") for i in range(3)]
            weights[f"{prefix}.switch_mlp.{name}.weight"] = np.stack(each)
    save_file(weights, folder / "model.safetensors")
    export(folder, tmp_path / "m.gguf", "q8_0")
    assert (tmp_path / "m.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()
    tensors = stored(tmp_path / "m.gguf")
    assert tensors["blk.0.ffn_gate_inp.weight"][0] == "F32"
    assert tensors["blk.0.ffn_up_exps.weight"][0] == "Q8_0"
    said = metadata(tmp_path / "m.gguf")
    assert said["qwen3moe.expert_count"] == 3
    assert said["qwen3moe.expert_used_count"] == 2
    write_config(folder, num_local_experts=4)
    with pytest.raises(CheckpointError, match=r"gate.weight has the shape \(3, 32\), not \(4"):
        export(folder, tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("model_type", "changes", "says"),
    [
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window is True"),
        ("qwen3", {"layer_types": ["sliding_attention"] * 6}, "layer_types is"),
        ("qwen3_moe", {"norm_topk_prob": False}, "norm_topk_prob is False"),
        ("qwen3_moe", {"mlp_only_layers": [0]}, r"mlp_only_layers is \[0\]"),
        ("qwen3_moe", {"num_local_experts": 0}, "num_experts is 0, not a count"),
        ("gemma", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ("gemma", {"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        ("gemma2", {"query_pre_attn_scalar": 144}, "query_pre_attn_scalar is 144, not 16"),
        ("gemma2", {"layer_types": ["full_attention"] * 6}, "layer_types is"),
        ("gemma3_text", {"sliding_window_pattern": 2}, "sliding_window_pattern is 2"),
        ("gemma3_text", {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ("gemma3_text", {"rope_scaling": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ("phi3", {"rope_scaling": {"type": "longrope"}}, "rope_type is 'longrope'"),
        ("phi3", {"partial_rotary_factor": 1.5}, "partial_rotary_factor is 1.5"),
        ("llama", {"rope_scaling": {"rope_type": "llama3"}}, "rope_parameters is"),
        ("mistral", {"rope_scaling": {"type": "linear"}}, "rope_type is 'linear'"),
    ],
)
def test_what_would_be_another_model(tmp_path, model_type, changes, says):
    with pytest.raises(CheckpointError, match=says):
        read_shape(tmp_path / "config.json", {**config(model_type), **changes})


@pytest.mark.parametrize("model_type", ["gemma3", "gemma3n", "mixtral", "mistral3", "phi4mm"])
def test_relatives_are_refused_by_name(tmp_path, model_type):
    with pytest.raises(CheckpointError, match=f"model_type is '{model_type}', which is not exp"):
        read_shape(tmp_path / "config.json", config("llama") | {"model_type": model_type})


def test_what_files_say_of_gemma(tmp_path, tokenizer):
    folder = write(tmp_path / "model", tokenizer, "gemma2")
    export(folder, tmp_path / "m.gguf")
    said = metadata(tmp_path / "m.gguf")
    assert said["gemma2.attention.sliding_window"] == 8
    assert said["gemma2.attn_logit_softcapping"] == 50.0
    assert said["gemma2.final_logit_softcapping"] == 30.0
    folder = write(tmp_path / "other", tokenizer, "gemma3_text")
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    write_config(folder, rope_parameters=rope)
    export(folder, tmp_path / "m.gguf")
    said = metadata(tmp_path / "m.gguf")
    assert said["gemma3.rope.freq_base"] == 1e6
    assert said["gemma3.rope.freq_base_swa"] == 1e4
    assert said["gemma3.rope.scaling.type"] == "linear"
    assert said["gemma3.rope.scaling.factor"] == 8.0


def test_the_older_names_of_gemma_3s_rotary_embeddings(tmp_path):
    older = config("gemma3_text") | {
        "rope_theta": 2e6, "rope_local_base_freq": 5e3,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    }  # fmt: skip
    shape = read_shape(tmp_path / "config.json", older)
    said = ARCHITECTURES["gemma3_text"].metadata(older, shape)
    assert shape.rope_theta == 2e6
    assert said["rope.freq_base_swa"] == 5e3
    assert said["rope.scaling.factor"] == 8.0


def test_part_of_a_head_is_turned(tmp_path, tokenizer):
    folder = write(tmp_path / "model", tokenizer, "phi3")
    write_config(folder, partial_rotary_factor=0.75)
    export(folder, tmp_path / "m.gguf")
    assert metadata(tmp_path / "m.gguf")["phi3.rope.dimension_count"] == 12


def test_windows_are_noted(tmp_path, tokenizer):
    folder = write(tmp_path / "model", tokenizer, "mistral")
    assert export(folder, tmp_path / "m.gguf").notes == ()
    write_config(folder, sliding_window=32)
    [note] = export(folder, tmp_path / "m.gguf").notes
    assert note.startswith("the model looks 32 tokens back")


def test_wavelengths_of_llama_3_1(tmp_path, tokenizer):
    """As transformers computes them for Llama 3.1."""
    rope = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_theta": 5e5,
    }  # fmt: skip
    folder = write(tmp_path / "model", tokenizer, "llama")
    write_config(folder, rope_parameters=rope, head_dim=16)
    exported = export(folder, tmp_path / "m.gguf")
    factors = stored(tmp_path / "m.gguf")["rope_freqs.weight"][1].ravel()
    assert factors.tolist()[:4] == [1.0, 1.0, 1.0, 1.0]
    assert factors.tolist()[-2:] == [8.0, 8.0]
    assert (np.diff(factors) >= 0).all()
    # They are none of the model's numbers.
    source = load_file(folder / "model.safetensors")
    assert exported.parameters == sum(each.size for each in source.values())
