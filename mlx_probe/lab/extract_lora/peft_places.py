"""Where PEFT has a place for the change of a tensor: by its role, as transformers builds models.

A role that is not listed here is refused: an unknown module may be no nn.Linear at all.
"""

from __future__ import annotations

from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.checkpoint.adapters.conv1d import is_conv1d
from mlx_probe.lab.extract_lora.places import EMBEDDING, LINEAR, WHOLE, Place, Refusal

__all__ = ["is_tied", "peft_place"]

# Block types that are an nn.Linear, or GPT-2's Conv1D, where a file has them as a matrix.
_LINEAR = frozenset(
    (
        *("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "kv_proj", "qk_proj"),
        *("q_a_proj", "q_b_proj", "kv_a_proj", "kv_b_proj"),
        *("gate_proj", "up_proj", "down_proj", "gate_up_proj", "up_gate_proj"),
        *("output", "head_transform", "pooler", "attention_gate"),
    )
)
_COMPONENTS = ("attention", "cross_attention", "mlp", "moe", "output")
_EMBEDDINGS = ("embedding", "position_embedding", "token_type_embedding")
# Published without the name of the model inside, which PEFT's names have.
_PREFIXES = {"gpt2": "transformer.", "bloom": "transformer."}
_INSIDE = ("h.", "wte.", "wpe.", "ln_f.", "word_embeddings.", "word_embeddings_layernorm.")


def peft_place(weight: Weight, base: Checkpoint, whole: bool) -> Place | Refusal:
    """The module of a weight in PEFT's model, or why there is none.

    Args:
        weight: A weight of the base; no part of a fused one.
        base: The model that the adapter is for.
        whole: Whether a changed norm is stored as a whole.
    """
    role, module = weight.role, _module_of(weight.name, base)
    if weight.stack_index is not None or weight.expert_index is not None:
        return Refusal("PEFT has no LoRA of one expert: transformers holds all of a layer together")
    if role.component == "norm":
        if whole and len(weight.shape) == 1:
            return Place(module, WHOLE)
        hint = "" if len(weight.shape) != 1 else "; --modules-to-save stores it whole"
        return Refusal(f"a norm is no product of factors{hint}")
    if weight.name.endswith("bias"):
        return Refusal("a bias is no product of factors")
    if len(weight.shape) != 2 or weight.rows is None:
        return Refusal("LoRA is of matrices, and this is none in transformers")
    if not weight.name.endswith(".weight"):
        return Refusal("it is no weight of a module, by its name")
    if role.block_type in _EMBEDDINGS and role.component == "embedding":
        if role.block_type == "embedding" and is_tied(base):
            return Refusal("the output head shares its values, which PEFT's LoRA does not follow")
        return Place(module, EMBEDDING)
    if role.component == "output" and is_tied(base):
        return Refusal("it shares its values with the embeddings")
    if role.block_type not in _LINEAR or role.component not in _COMPONENTS:
        return Refusal(f"no nn.Linear is known for {role.component}, {role.block_type}")
    shapes = {parameter.name: parameter.shape for parameter in base.parameters}
    turned = is_conv1d(weight.name, shapes, base.architecture.model_type, False)
    return Place(module, LINEAR, transposed=turned)


def is_tied(base: Checkpoint) -> bool:
    """Whether the output head is the table of embeddings."""
    said = base.config.get("tie_word_embeddings")
    heads = any(
        weight.role.component == "output" and weight.rows is not None for weight in base.weights()
    )
    return bool(said) if said is not None else not heads


def _module_of(name: str, base: Checkpoint) -> str:
    module = name.rpartition(".")[0]
    prefix = _PREFIXES.get(base.architecture.model_type or "", "")
    return prefix + module if prefix and name.startswith(_INSIDE) else module
