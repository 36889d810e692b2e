"""Roles of the names that most models have: what `rules` say, without compiling their patterns.

The patterns that lead to the roles of one ordinary model take as long to compile as measuring a
matrix of it. A test compares every line with the rules.
"""

from __future__ import annotations

__all__ = ["FAMILIAR"]

# By what comes before the name: Hugging Face's decoders and GGUF.
_NAMES = {
    "model.": {
        "embed_tokens": ("embedding", "embedding"),
        "norm": ("norm", "norm"),
    },
    "model.layers.#.": {
        "self_attn.q_proj": ("q_proj", "attention"),
        "self_attn.k_proj": ("k_proj", "attention"),
        "self_attn.v_proj": ("v_proj", "attention"),
        "self_attn.o_proj": ("o_proj", "attention"),
        "self_attn.q_norm": ("norm", "norm"),
        "self_attn.k_norm": ("norm", "norm"),
        "mlp.gate_proj": ("gate_proj", "mlp"),
        "mlp.up_proj": ("up_proj", "mlp"),
        "mlp.down_proj": ("down_proj", "mlp"),
        "mlp.gate": ("router", "moe"),
        "mlp.experts.#.gate_proj": ("gate_proj", "moe"),
        "mlp.experts.#.up_proj": ("up_proj", "moe"),
        "mlp.experts.#.down_proj": ("down_proj", "moe"),
        "input_layernorm": ("norm", "norm"),
        "post_attention_layernorm": ("norm", "norm"),
        "pre_feedforward_layernorm": ("norm", "norm"),
        "post_feedforward_layernorm": ("norm", "norm"),
    },
    "blk.#.": {
        "attn_q": ("q_proj", "attention"),
        "attn_k": ("k_proj", "attention"),
        "attn_v": ("v_proj", "attention"),
        "attn_output": ("o_proj", "attention"),
        "attn_q_norm": ("norm", "norm"),
        "attn_k_norm": ("norm", "norm"),
        "ffn_gate": ("gate_proj", "mlp"),
        "ffn_up": ("up_proj", "mlp"),
        "ffn_down": ("down_proj", "mlp"),
        "ffn_gate_inp": ("router", "moe"),
        "ffn_gate_exps": ("gate_proj", "moe"),
        "ffn_up_exps": ("up_proj", "moe"),
        "ffn_down_exps": ("down_proj", "moe"),
        "attn_norm": ("norm", "norm"),
        "ffn_norm": ("norm", "norm"),
    },
    "": {
        "lm_head": ("output", "output"),
        "token_embd": ("embedding", "embedding"),
        "output_norm": ("norm", "norm"),
        "output": ("output", "output"),
    },
}

# Block type and component, by the name with ``#`` in place of the numbers of layer and expert.
FAMILIAR = {
    f"{before}{name}.{parameter}": role
    for before, names in _NAMES.items()
    for name, role in names.items()
    for parameter in ("weight", "bias")
}
