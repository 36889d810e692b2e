"""What families do between the factors of a head's product without a tensor that would show it.

By the code of transformers and of llama.cpp; `tests/referees/architectures` compares the lists
with running modules. A family that is not listed is not taken for a plain one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Architecture

__all__ = [
    *("CLIP", "CONVOLUTION", "FAMILIES", "GATE", "GGUF_FAMILIES", "HEAD_NORM", "KEY_NORM"),
    *("SCALE", "SOFT_CAP", "TEMPERATURE", "VALUE_NORM", "Family", "family_of"),
]

# Words of the column `left_out`.
KEY_NORM = "norm of queries or keys"
VALUE_NORM = "norm of values"
HEAD_NORM = "norm before W_o"
GATE = "gate before W_o"
CONVOLUTION = "convolution over tokens"
SCALE = "learned scale"
SOFT_CAP = "soft cap of scores"
TEMPERATURE = "temperature by position"
CLIP = "clipped queries, keys and values"

_PAIRS = "differential attention subtracts pairs of heads, each with the values of two"


@dataclass(frozen=True)
class Family:
    """What a family's attention does besides rotation, scale, mask and softmax.

    Attributes:
        qk: Words for the QK circuit.
        ov: Words for the OV circuit.
        no_qk: Why there is no QK product.
        no_ov: Why there is no OV product.
        setting: Setting of config.json that turns ``qk`` on; None if it is always on.
        rotated_only: Whether ``qk`` holds only in layers with rotary embeddings.
    """

    qk: tuple[str, ...] = ()
    ov: tuple[str, ...] = ()
    no_qk: str | None = None
    no_ov: str | None = None
    setting: str | None = None
    rotated_only: bool = False

    def problem(self, circuit: str) -> str | None:
        """Why there is no product of a circuit; None if there is one."""
        return self.no_qk if circuit == "qk" else self.no_ov

    def words(self, circuit: str, layer: int | None, architecture: Architecture) -> list[str]:
        """What a circuit's product leaves out in a layer."""
        a = architecture
        words = [
            word
            for setting, word, circuits in _SETTINGS
            if setting in a.flags
            and circuit in circuits
            # Llama 4's, where only some blocks have no rotary embeddings.
            and not (setting == _UNROTATED and a.unrotated and layer not in a.unrotated)
        ]
        if circuit == "ov":
            return [*words, *self.ov]
        off = self.setting is not None and self.setting not in a.flags
        if off or (self.rotated_only and layer in a.unrotated):
            return words
        return [*words, *self.qk]


_UNROTATED = "attn_temperature_tuning"
# Settings of config.json that any family may have.
_SETTINGS = (
    ("attn_logit_softcapping", SOFT_CAP, ("qk",)),
    ("clip_qkv", CLIP, ("qk", "ov")),
    (_UNROTATED, TEMPERATURE, ("qk",)),
    ("llama_4_scaling_beta", TEMPERATURE, ("qk",)),
    ("use_logn_attn", TEMPERATURE, ("qk",)),  # the first Qwen
)

_PLAIN = Family()

# Names of transformers; a multimodal model's language part goes by the model's name.
_PLAIN_TYPES = (
    # Decoders.
    *("afmoe", "apertus", "apertus1p5", "arcee", "aria", "beam", "biogpt", "bitnet", "bloom"),
    *("bamba", "chatglm", "code_llama", "codegen", "codeshell", "cohere", "cohere2"),
    *("cohere2_moe", "cpmant", "ctrl", "cwm", "dbrx", "deepseek", "doge", "dots1", "emu3"),
    *("ernie4_5", "ernie4_5_moe", "exaone", "exaone4", "exaone_moe", "falcon", "falcon_h1"),
    *("flex_olmo", "flint", "fuyu", "gemma", "gemma2", "gemma3", "git", "glm", "glm4", "glm4v"),
    *("glm4_moe", "glm4v_moe", "glm46v", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox"),
    *("gpt_neox_japanese", "gpt_oss", "gptj", "granite", "granite_swa", "granitemoe"),
    *("granitemoe_swa", "granitemoehybrid", "granitemoeshared", "helium", "hf_olmo"),
    *("hunyuan_v1_dense", "hunyuan_v1_moe", "hy_v3", "hyperclovax", "imagegpt", "internlm"),
    *("internlm2", "internlm3", "internlm_xcomposer2", "jais", "jais2", "jamba", "kolibri1"),
    *("laguna", "lara_mini", "lfm2", "lfm2_moe", "llama", "mellum", "minicpm", "minimax"),
    *("minimax_m2", "minimax_text_01", "ministral", "ministral3", "mistral", "mistral3"),
    *("mimo", "mimo_v2_flash", "mixtral", "mllama", "mllama_text_model", "molmo", "molmo2"),
    *("moshi", "moss", "mpt", "nemotron", "nemotron_h", "olmo", "olmo2", "olmo3"),
    *("olmo_hybrid", "olmoe", "openai-gpt", "openelm", "opt", "orion", "persimmon", "phi"),
    *("phi-msft", "phi3", "phi3_v", "phi3small", "phi4_multimodal", "phi4mm", "phimoe"),
    *("phixtral", "progen", "qwen", "qwen2", "qwen2_5_vl", "qwen2_audio", "qwen2_moe"),
    *("qwen2_vl", "qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe", "recurrent_gemma"),
    *("RefinedWeb", "RefinedWebModel", "seed_oss", "smollm3", "solar_open", "stablelm"),
    *("starcoder2", "step3p7", "trocr", "vaultgemma", "xglm", "xverse", "baichuan"),
    *("bailing_moe", "hunyuan", "lille-130m", "spark2_5"),
    *("baichuan_m1", "emu3_text_model", "minimax_m3_vl", "zamba", "zamba2"),
    # Encoders.
    *("albert", "bert", "bert-generation", "big_bird", "camembert", "data2vec-text"),
    *("distilbert", "electra", "ernie", "esm", "eurobert", "flaubert", "gte", "ibert"),
    *("jina_embeddings_v3", "layoutlm", "megatron-bert", "modernbert", "modernbert-decoder"),
    *("modernvbert", "mpnet", "neobert", "new", "nomic_bert", "rembert", "roberta"),
    *("roberta-prelayernorm", "roc_bert", "roformer", "xlm", "xlm-roberta", "xlm-roberta-xl"),
    *("deberta", "deberta-v2", "tapas", "ultrabert", "xmod"),
    # Encoders with decoders.
    *("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5"),
    *("m2m_100", "marian", "mbart", "mt5", "mvp", "nllb-moe", "pegasus", "pegasus_x"),
    *("plbart", "seamless_m4t", "seamless_m4t_v2", "speech_to_text"),
    *("switch_transformers", "t5", "t5gemma", "umt5", "whisper"),
)
_VALUE_NORMED = Family(ov=(VALUE_NORM,))
# Queries and gate are one matrix there.
_GATED = Family(ov=(GATE,))

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(_PLAIN_TYPES, _PLAIN),
    **dict.fromkeys(("gemma3n", "gemma4", "gemma4_unified", "diffusion_gemma"), _VALUE_NORMED),
    "embedding_gemma2": _VALUE_NORMED,
    **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen4_exp"), _GATED),
    "nanochat": Family(qk=(KEY_NORM,)),
    "neomme": Family(qk=(KEY_NORM,)),
    "muse_spark": Family(qk=(KEY_NORM,), ov=(HEAD_NORM,)),
    "muse_glimmer": Family(qk=(KEY_NORM,)),
    "llama4": Family(qk=(KEY_NORM,), setting="use_qk_norm", rotated_only=True),
    "diffllama": Family(no_ov=_PAIRS),
}

# Names of llama.cpp.
_GGUF_PLAIN = (
    *("llama", "afmoe", "apertus", "arcee", "arctic", "baichuan", "bailingmoe", "bailingmoe2"),
    *("bert", "bitnet", "bloom", "chameleon", "chatglm", "codeshell", "cohere2", "command-r"),
    *("dbrx", "deci", "deepseek", "dots1", "dream", "ernie4_5", "ernie4_5-moe", "eurobert"),
    *("exaone", "exaone-moe", "exaone4", "falcon", "falcon-h1", "gemma", "gemma-embedding"),
    *("gemma2", "gemma3", "glm4", "glm4moe", "gpt-oss", "gpt2", "gptj", "gptneox", "granite"),
    *("granitehybrid", "granitemoe", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe"),
    *("internlm2", "jais", "jais2", "jamba", "jina-bert-v2", "jina-bert-v3", "lfm2", "lfm2moe"),
    *("llada", "llada-moe", "llama-embed", "maincoder", "mimo2", "minicpm", "minimax-m2"),
    *("mistral3", "modern-bert", "mpt", "nemotron", "nemotron_h", "nemotron_h_moe"),
    *("nomic-bert", "nomic-bert-moe", "olmo", "olmo2", "olmoe", "openelm", "orion"),
    *("paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo3", "qwen"),
    *("qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "refact"),
    *("rnd1", "seed_oss", "smallthinker", "smollm3", "stablelm", "starcoder", "starcoder2"),
    *("step35", "t5", "t5encoder", "xverse"),
)
GGUF_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(_GGUF_PLAIN, _PLAIN),
    **dict.fromkeys(("gemma3n", "gemma4"), _VALUE_NORMED),
    **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), _GATED),
    "llama4": Family(qk=(KEY_NORM,), setting="use_qk_norm", rotated_only=True),
}


def family_of(architecture: Architecture) -> Family | None:
    """What the model's family does; None if it is not listed."""
    named = architecture.model_type or ""
    if "gguf" in architecture.flags:
        return GGUF_FAMILIES.get(named)
    return FAMILIES.get(named) or FAMILIES.get(named.removesuffix("_text"))
