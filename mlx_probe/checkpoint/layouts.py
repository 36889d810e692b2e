"""How families arrange fused matrices: the tables that `fused` splits by.

By the code of transformers, of mlx-lm, of llama.cpp and of the models' authors. A family that is
not listed is not split: that the lines add up says nothing about their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlx_probe.checkpoint.architecture import Architecture

__all__ = ["GATE_UP", "GGUF_QKV", "QKV", "GateUp", "Qkv", "gate_up_layout", "qkv_layout"]


@dataclass(frozen=True)
class Qkv:
    """The order of query, key and value heads in one matrix.

    Attributes:
        turn: What repeats. "matrix": all queries, all keys, all values. "head": query, key and
            value of one head, then of the next. "group": the queries that share a key and a
            value, this key and value, then the next group. "shard": equal shares of all
            queries, keys and values, then the next share.
        order: The parts within a turn.
        shards: Number of shards.
    """

    turn: str
    order: tuple[str, str, str] = ("q_proj", "k_proj", "v_proj")
    shards: int = 1


@dataclass(frozen=True)
class GateUp:
    """The order of the two projections of a gated MLP; the gate is the one that is activated.

    Attributes:
        order: The first and the second half; with ``alternating``, even and odd lines.
        alternating: Whether lines of the two take turns.
    """

    order: tuple[str, str] = ("gate_proj", "up_proj")
    alternating: bool = False


_BLOCKS, _HEADS, _GROUPS = Qkv("matrix"), Qkv("head"), Qkv("group")
# CodeGen's checkpoints were trained on four accelerators, ProGen's on eight.
_QVK = ("q_proj", "v_proj", "k_proj")

# Model type to the settings of config.json and the layout under each; the first that is true
# decides, None always is.
_Choice = tuple[tuple[str | None, Qkv], ...]


def _always(layout: Qkv, *model_types: str) -> dict[str, _Choice]:
    return dict.fromkeys(model_types, ((None, layout),))


QKV: Mapping[str, _Choice] = {
    # GPT-2 and its kin; most store (inputs, outputs).
    **_always(_BLOCKS, "gpt2", "openai-gpt", "imagegpt", "decision_transformer", "jais", "btlm"),
    **_always(_BLOCKS, "phi3", "phi3_v", "phi4mm", "phi4_multimodal", "phi-msft", "phixtral"),
    **_always(_BLOCKS, "mixformer-sequential"),
    **_always(_BLOCKS, "qwen", "baichuan", "baichuan_m1", "codeshell", "mpt", "dbrx", "openelm"),
    **_always(_BLOCKS, "hf_olmo", "molmo", "molmo2", "bailing_moe", "bailing_moe_v2"),
    **_always(_BLOCKS, "sarvam_moe", "afm7", "lille-130m", "plamo2", "plamo3", "spark2_5"),
    # Encoders.
    **_always(_BLOCKS, "modernbert", "modernvbert", "nomic_bert", "gte", "new"),
    **_always(_BLOCKS, "jina_embeddings_v3"),
    **_always(_HEADS, "gpt_neox", "gpt_neox_japanese", "bloom", "persimmon", "fuyu"),
    **_always(_HEADS, "deberta", "neobert"),
    # Linear attention: as many keys and values as queries, whatever the other layers have.
    **_always(_HEADS, "minimax", "minimax_text_01", "minimax_m1"),
    **_always(_GROUPS, "internlm2", "internlm_xcomposer2", "phi3small", "RefinedWeb"),
    **_always(Qkv("shard", _QVK, 4), "codegen", "moss"),
    **_always(Qkv("shard", _QVK, 8), "progen"),
    "falcon": (
        ("new_decoder_architecture", _GROUPS),
        ("multi_query", _BLOCKS),
        (None, _HEADS),
    ),
    "RefinedWebModel": (("multi_query", _BLOCKS), (None, _HEADS)),
    "gpt_bigcode": (("multi_query", _BLOCKS), (None, _HEADS)),
    # The first ChatGLM has no multi-query attention, from the second on it is an option.
    "chatglm": (("multi_query_attention", _BLOCKS), (None, _HEADS)),
}

# llama.cpp's graph reads blocks in every architecture, and its converter makes them (Falcon's,
# GPT-NeoX's and BLOOM's rows are put in order). Not listed: Qwen3-Next's and Qwen3.5's
# ``attn_qkv``, which is linear attention; Persimmon and NeoBERT, which are not put in order.
GGUF_QKV = frozenset(
    (
        *("falcon", "gpt2", "gptneox", "mpt", "starcoder", "bloom", "qwen", "phi2", "phi3"),
        *("phimoe", "plamo2", "plamo3", "codeshell", "dbrx", "openelm", "chatglm", "glm4"),
        *("jais", "bailingmoe2", "cogvlm"),
        *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3"),
        # Separate as a rule; the loader takes fused matrices too, in the same order.
        *("llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma", "gemma2", "gemma3"),
        *("stablelm", "orion", "internlm2", "minicpm", "command-r", "cohere2", "olmo", "olmo2"),
        *("baichuan", "refact", "starcoder2", "xverse", "exaone", "granite", "granitemoe"),
    )
)

_UP_FIRST = GateUp(("up_proj", "gate_proj"))


def _each(layout: GateUp, *model_types: str) -> dict[str, GateUp]:
    return dict.fromkeys(model_types, layout)


GATE_UP: Mapping[str, GateUp] = {
    # Dense MLPs.
    **_each(GateUp(), "phi3", "phi3_v", "phi4mm", "phi4_multimodal", "glm", "glm4", "glm4v"),
    **_each(GateUp(), "glm46v", "glm_ocr", "glm_image", "dia", "zamba2", "hrm_text", "plamo2"),
    **_each(GateUp(), "plamo3", "modernbert", "modernbert-decoder", "modernvbert"),
    # ``up_gate_proj`` and ``ff_proj``.
    **_each(_UP_FIRST, "gte", "new", "molmo", "molmo2"),
    # Experts.
    **_each(GateUp(), "afmoe", "aria", "axk1", "axk2", "bailing_hybrid", "bailing_moe_v2"),
    **_each(GateUp(), "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4"),
    **_each(GateUp(), "deepseek_ocr2", "diffusion_gemma", "dots1", "dots3_note", "ernie4_5_moe"),
    **_each(GateUp(), "ernie4_5_vl_moe", "exaone_moe", "flex_olmo", "flint", "gemma4"),
    **_each(GateUp(), "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm5_next", "glm_moe_dsa"),
    **_each(GateUp(), "granitemoe", "granitemoehybrid", "granitemoeshared", "granitemoe_swa"),
    **_each(GateUp(), "hunyuan_v1_moe", "hy_v3", "hy_v4", "hy_v4_vl", "jamba", "jetmoe"),
    **_each(GateUp(), "kimi_linear", "kolibri1", "laguna", "lara_mini", "lfm2_moe", "llama4"),
    **_each(GateUp(), "longcat_flash", "mellum", "mimo_v2_flash", "minimax", "minimax_m2"),
    **_each(GateUp(), "minimax_m3_vl", "mistral4", "mixtral", "mistral_large4", "muse_spark"),
    **_each(GateUp(), "olmoe", "phimoe", "qwen2_moe", "qwen3_moe", "qwen3_next"),
    **_each(GateUp(), "qwen3_vl_moe", "qwen3_5_moe", "qwen3_omni_moe", "qwen4_exp"),
    **_each(GateUp(), "solar_open", "step3p7", "unlimited_ocr", "zaya", "openai_privacy_filter"),
    **_each(GateUp(alternating=True), "gpt_oss"),
}


def _family(model_type: str) -> str:
    """A multimodal model's language part is called like the model."""
    return model_type.removesuffix("_text")


def qkv_layout(architecture: Architecture) -> Qkv | None:
    """How the model arranges fused queries, keys and values; None if it is not listed."""
    a = architecture
    if a.model_type is None:
        return None
    if "gguf" in a.flags:
        return _BLOCKS if a.model_type in GGUF_QKV else None
    choices = QKV.get(_family(a.model_type), ())
    return next((layout for flag, layout in choices if flag is None or flag in a.flags), None)


def gate_up_layout(architecture: Architecture) -> GateUp | None:
    """How the model arranges a fused gate and up projection; None if it is not listed."""
    a = architecture
    if a.model_type is None:
        return None
    # One function of llama.cpp's graph for all architectures; its converter puts gpt-oss in order.
    return GateUp() if "gguf" in a.flags else GATE_UP.get(_family(a.model_type))
