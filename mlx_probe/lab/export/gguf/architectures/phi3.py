"""Phi-3 and Phi-4: one matrix for queries, keys and values, and one for gate and up."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import Architecture
from mlx_probe.lab.export.gguf.architectures.mistral import window_note

__all__ = ["PHI3"]

PHI3 = Architecture(
    "phi3",
    {
        "input_layernorm.weight": ("attn_norm.weight", ("dim",)),
        "self_attn.qkv_proj.weight": ("attn_qkv.weight", ("query_key_value", "dim")),
        "self_attn.o_proj.weight": ("attn_output.weight", ("dim", "query")),
        "post_attention_layernorm.weight": ("ffn_norm.weight", ("dim",)),
        "mlp.gate_up_proj.weight": ("ffn_up.weight", ("gate_up", "dim")),
        "mlp.down_proj.weight": ("ffn_down.weight", ("dim", "hidden")),
    },
    rotates_part=True,
    defaults={"rms_norm_eps": 1e-5},
    notes=window_note,
)
