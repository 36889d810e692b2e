"""Tensor name -> layer, block type, component, expert: one ordered table of patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_probe.records import Role

__all__ = ["RULES", "Rule", "classify"]


@dataclass(frozen=True)
class Rule:
    """What the tensors are whose name ends in a pattern.

    Attributes:
        block_type: `Role.block_type` of a matching tensor.
        component: `Role.component` of a matching tensor.
        pattern: Matches, with ``search``, the last segments of a dot-separated name.
    """

    block_type: str
    component: str
    pattern: re.Pattern[str]


# One expert's module inside a mixture, or all of them stacked, or the one every token visits.
_EXPERT = r"(experts(\.\d+)?|shared_experts?)"

# The first line that matches decides, so the narrow ones stand above the wide ones: a norm
# inside attention is a norm, an expert's gate_proj is moe. A pattern begins and ends at dots
# (".weight" or ".bias" may follow): "gate" never matches "gate_proj", nor layer 1 layer 11.
_TABLE: tuple[tuple[str, str, str], ...] = (
    # Stored beside the weights but not learned.
    ("buffer", "attention", r"(attn|attention)\.(bias|masked_bias)"),  # GPT-2's causal mask
    ("buffer", "embedding", r"position_ids|token_type_ids|embed_scale"),
    ("rope", "attention", r"(\w+_)?inv_freq|rope\.freqs"),
    ("rope", "attention", r"rope_freqs|rope_factors_(long|short)|attn_rot_embd"),  # GGUF
    # Normalization, wherever it stands.
    ("norm", "norm", r"\w*[nN]orm"),
    ("norm", "norm", r"ln_\w+"),  # GPT-2
    # Embeddings.
    ("embedding", "embedding", r"embed_tokens|word_embeddings|tok_embeddings"),
    ("embedding", "embedding", r"wte|embed_in|token_embd"),  # GPT-2, GPT-NeoX, GGUF
    ("position_embedding", "embedding", r"position_embeddings|wpe|position_embd"),
    ("token_type_embedding", "embedding", r"token_type_embeddings|token_types"),
    # What follows the last block.
    ("output", "output", r"lm_head|embed_out|classifier|score"),
    ("output", "output", r"cls\.(predictions|predictions\.decoder|seq_relationship)"),  # BERT
    ("output", "output", r"vocab_projector"),  # DistilBERT
    ("output", "output", r"^output|^cls\.output"),  # GGUF; inside a block "output" is no head
    ("head_transform", "output", r"cls\.predictions\.transform\.dense|vocab_transform"),
    ("pooler", "output", r"pooler\.dense|^cls"),
    # Attention.
    ("q_proj", "attention", r"q_proj|wq|attn_q|attention\.self\.query|q_lin"),
    ("k_proj", "attention", r"k_proj|wk|attn_k|attention\.self\.key|k_lin"),
    ("v_proj", "attention", r"v_proj|wv|attn_v|attention\.self\.value|v_lin"),
    ("qkv_proj", "attention", r"qkv_proj|attn\.c_attn|query_key_value|attn_qkv"),
    ("o_proj", "attention", r"o_proj|wo|attn_output|attention\.output\.dense|out_lin"),
    ("o_proj", "attention", r"attn\.c_proj|(self_attn|attention)\.dense"),  # GPT-2, Phi, NeoX
    # Mixtures of experts; the shared expert's scalar gate routes as well.
    ("router", "moe", r"(mlp|feed_forward|block_sparse_moe)\.gate|shared_expert_gate"),
    ("router", "moe", r"ffn_gate_inp(_shexp)?"),
    ("gate_up_proj", "moe", rf"{_EXPERT}\.gate_up_proj"),
    ("gate_proj", "moe", rf"{_EXPERT}\.(gate_proj|w1)|ffn_gate(_exps|_shexp|\.\d+)"),
    ("up_proj", "moe", rf"{_EXPERT}\.(up_proj|w3)|ffn_up(_exps|_shexp|\.\d+)"),
    ("down_proj", "moe", rf"{_EXPERT}\.(down_proj|w2)|ffn_down(_exps|_shexp|\.\d+)"),
    # Dense MLPs; without a gate the first matrix is up_proj, the second down_proj.
    ("gate_up_proj", "mlp", r"mlp\.gate_up_proj"),
    ("gate_proj", "mlp", r"mlp\.gate_proj|feed_forward\.w1|ffn_gate"),
    ("up_proj", "mlp", r"mlp\.(up_proj|fc1)|feed_forward\.w3|ffn_up"),
    ("down_proj", "mlp", r"mlp\.(down_proj|fc2)|feed_forward\.w2|ffn_down"),
    ("up_proj", "mlp", r"mlp\.(c_fc|dense_h_to_4h)|intermediate\.dense|ffn\.lin1"),
    ("down_proj", "mlp", r"mlp\.(c_proj|dense_4h_to_h)|output\.dense|ffn\.lin2"),
    ("conv", "other", r"(ssm_)?conv[123]d"),
)
# BERT's first checkpoints call a norm's weight gamma and its bias beta.
_PARAMETER = r"(\.(weight|bias|gamma|beta))?\Z"
RULES = tuple(
    Rule(block_type, component, re.compile(rf"(?:^|\.)(?:{pattern}){_PARAMETER}"))
    for block_type, component, pattern in _TABLE
)

# At most nine digits: a damaged name must not overflow the table's int64.
_LAYER_INDEX = re.compile(r"(?:^|\.)(?:layers?|blocks?|blk|h)\.([0-9]{1,9})(?=\.|\Z)")
_EXPERT_INDEX = re.compile(r"(?:^|\.)(?:experts|ffn_(?:gate|up|down))\.([0-9]{1,9})(?=\.|\Z)")


def classify(name: str) -> Role:
    """Tells from a tensor's name what it does in the network.

    Args:
        name: Name in the checkpoint; wrapper prefixes ("model.", "module.") do not matter.

    Returns:
        The role. A bias has the role of its weight; the outermost numbered block is the
        layer; a name that no rule knows is ("other", "other"), with its indices if it has
        any. GGUF calls Phi-3's fused gate and up matrix ``ffn_up``: the name cannot tell,
        so there it is up_proj.
    """
    layer_index = _index(_LAYER_INDEX, name)
    expert_index = _index(_EXPERT_INDEX, name)
    for rule in RULES:
        if rule.pattern.search(name):
            return Role(rule.block_type, rule.component, layer_index, expert_index)
    return Role("other", "other", layer_index, expert_index)


def _index(pattern: re.Pattern[str], name: str) -> int | None:
    match = pattern.search(name)
    return int(match[1]) if match else None
