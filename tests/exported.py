"""GGUF files read back by the engine, and models to write them from."""

import json

import numpy as np
from safetensors.numpy import save_file

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.records import ModelFiles
from mlx_probe.lab.export import EXPORTS


def export(folder, out, kind="auto"):
    return EXPORTS["gguf"](str(folder), out, kind)


def stored(path):
    """Type and stored words of every tensor, in its shape, by the engine."""
    tensors = {}
    with open_checkpoint(ModelFiles("m", "local", path, (path,))) as checkpoint:
        for weight in checkpoint.weights():
            if weight.part is not None:
                continue
            axis = 0 if weight.rows is None or weight.tall else 1
            words = np.concatenate([chunk.copy() for chunk in weight.chunks()], axis)
            if weight.stack_index:
                words = np.concatenate([tensors[weight.name][1], words])
            tensors[weight.name] = weight.dtype, words
    return tensors


def metadata(path):
    """What the file says beside its tensors, by gguf's own reader."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    return {name: each.contents() for name, each in fields.items() if not name.startswith("GGUF.")}


def write_config(folder, **changes):
    """Change keys of config.json; None takes one away."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def write_qwen3(folder, tokenizer, head_dim=16):
    """A model whose heads are wider than a share of the width, as in Qwen3-0.6B."""
    rng = np.random.default_rng(5)
    dim, hidden, heads, kv_heads = 32, 48, 4, 2

    def normal(*shape):
        return rng.standard_normal(shape).astype("f4") / 4

    weights = {"model.embed_tokens.weight": normal(tokenizer.vocabulary + 3, dim)}
    weights["model.norm.weight"] = 1 + normal(dim)
    for layer in range(2):
        block = {
            "input_layernorm": 1 + normal(dim),
            "post_attention_layernorm": 1 + normal(dim),
            "self_attn.q_proj": normal(heads * head_dim, dim),
            "self_attn.k_proj": normal(kv_heads * head_dim, dim),
            "self_attn.v_proj": normal(kv_heads * head_dim, dim),
            "self_attn.o_proj": normal(dim, heads * head_dim),
            "self_attn.q_norm": 1 + normal(head_dim),
            "self_attn.k_norm": 1 + normal(head_dim),
            "mlp.gate_proj": normal(hidden, dim),
            "mlp.up_proj": normal(hidden, dim),
            "mlp.down_proj": normal(dim, hidden),
        }
        weights |= {f"model.layers.{layer}.{name}.weight": each for name, each in block.items()}
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors")
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": dim,
        "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "head_dim": head_dim, "intermediate_size": hidden, "max_position_embeddings": 64,
        "vocab_size": tokenizer.vocabulary + 3, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
        "tie_word_embeddings": True, "hidden_act": "silu", "attention_bias": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    for path in tokenizer.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
