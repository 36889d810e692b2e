"""Which matrices read the residual stream and write into it, and through which norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_probe.checkpoint import Checkpoint, Weight

__all__ = ["Stream", "side_of", "stream_of"]

# Block types by what they do with the residual stream, as (rows out, columns in).
_READS = {
    "attention": ("q_proj", "k_proj", "v_proj", "qkv_proj", "q_a_proj", "kv_a_proj"),
    "mlp": ("gate_proj", "up_proj", "gate_up_proj", "up_gate_proj"),
    "moe": ("gate_proj", "up_proj", "gate_up_proj"),
}
_WRITES = {"attention": ("o_proj",), "mlp": ("down_proj",), "moe": ("down_proj",)}
# The norm before a sub-layer, by its name's end; the first that the layer has.
_NORMS = {
    "attention": ("input_layernorm", "ln_1", "attn_norm", "attention_norm"),
    "mlp": ("pre_feedforward_layernorm", "post_attention_layernorm", "ln_2", "ffn_norm"),
}
_NORMS["moe"] = _NORMS["mlp"]
# Norms of which a layer has one behind its sub-layers: what comes before reads no norm.
_BEHIND = ("post_feedforward_layernorm",)
_FINAL = ("model.norm", "norm", "ln_f", "final_layernorm", "final_layer_norm", "output_norm")
# Models whose norms multiply by 1 + weight.
_ZERO_CENTRED = ("gemma", "qwen3_next", "qwen3_5", "nemotron")


@dataclass(frozen=True)
class Stream:
    """The tensors around the residual stream.

    Attributes:
        embedding: Its rows are the tokens that enter.
        head: Its rows are the tokens that leave; the embedding where it is shared.
        norms: The norm before attention and before the MLP of each layer, by (layer, "attention"
            or "mlp"), with its bias if it has one.
        final: The norm before the head, likewise; None if none is known.
        zero_centred: Whether norms multiply by 1 + weight.
    """

    embedding: Weight
    head: Weight
    norms: dict[tuple[int | None, str], tuple[Weight, bool]]
    final: tuple[Weight, bool] | None
    zero_centred: bool


def side_of(weight: Weight) -> str | None:
    """Whether a matrix "reads" the residual stream or "writes" it; None for neither.

    Args:
        weight: A matrix, no part of a fused one.
    """
    role = weight.role
    if role.block_type in _READS.get(role.component, ()):
        return "reads"
    return "writes" if role.block_type in _WRITES.get(role.component, ()) else None


def stream_of(model: Checkpoint) -> Stream | str:
    """The tensors around the residual stream, or why they are not known.

    Args:
        model: The base.
    """
    weights = [weight for weight in model.weights() if weight.part is None]
    tables = _tables(weights, "embedding", "embedding")
    heads = _tables(weights, "output", "output")
    if len(tables) != 1 or tables[0].problem is not None:
        return "the model has no table of embeddings" if not tables else "it has several tables"
    embedding = tables[0]
    if len(heads) > 1:
        return "the model has several output heads"
    head = heads[0] if heads else embedding
    if head.cols != embedding.cols:
        return "the embeddings and the output head have different widths"
    vectors = {weight.name: weight for weight in weights if weight.rows is None}
    width = embedding.cols
    norms = {}
    behind = any(name.rpartition(".")[0].endswith(_BEHIND) for name in vectors)
    ahead = any("pre_feedforward_layernorm" in name for name in vectors)
    for name, weight in vectors.items():
        module, _, leaf = name.rpartition(".")
        role = weight.role
        if leaf != "weight" or role.component != "norm" or weight.numel != width:
            continue
        for component, ends in _NORMS.items():
            end = module.rpartition(".")[2]
            first = ends[0] if component == "mlp" and ahead else end
            # OLMo 2 has both norms behind the sub-layers.
            if end in ends and end == first and not (behind and not ahead):
                norms[role.layer_index, component] = weight, f"{module}.bias" in vectors
    final = next(
        (
            (vectors[f"{prefix}{name}.weight"], f"{prefix}{name}.bias" in vectors)
            for name in _FINAL
            for prefix in ("", "model.", "transformer.")
            if f"{prefix}{name}.weight" in vectors
        ),
        None,
    )
    kind = model.architecture.model_type or ""
    return Stream(embedding, head, norms, final, kind.startswith(_ZERO_CENTRED))


def _tables(weights: Sequence[Weight], block_type: str, component: str) -> list[Weight]:
    return [
        weight
        for weight in weights
        if weight.role.block_type == block_type
        and weight.role.component == component
        and weight.has_spectrum
        and weight.name.endswith("weight")
    ]
