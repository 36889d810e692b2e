"""The kinds of adapters, one record each.

A new kind is one file with an ``update`` (`protocol.Scheme`), and one record here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ADAPTERS", "AdapterKind"]


@dataclass(frozen=True)
class AdapterKind:
    """A kind of adapter.

    Attributes:
        title: Its name for people.
        peft_types: Values of ``peft_type`` in PEFT's adapter_config.json.
        scheme: Name of the module with its ``update``; None if it has none.
        prefix: What the segment of a tensor's name begins with that follows the module's name.
        pieces: Such segments that are understood, with ".bias" where a bias may follow.
        unused: Segments of tensors that change no weight.
        unmerged: Options of the configuration that leave no merged weights, and why.
        refusal: Why there are no numbers for this kind; None if there are.
    """

    title: str
    peft_types: tuple[str, ...] = ()
    scheme: str | None = None
    prefix: str = ""
    pieces: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unmerged: tuple[tuple[str, str], ...] = ()
    refusal: str | None = None


_HERE = "mlx_probe.checkpoint.adapters"
_UNMERGED = (
    ("layer_replication", "layer_replication repeats layers of the base"),
    ("alora_invocation_tokens", "an activated LoRA (aLoRA) acts on some tokens only"),
    ("arrow_config", "Arrow chooses between adapters for every token"),
    ("use_qalora", "QALoRA adds to the means of groups of inputs"),
)
_UNCOMPUTED = "what it makes of the weights is not computed"
_NO_WEIGHTS = "it adds inputs to the model and changes no weight"

# Without adapter_config.json the first kind decides that has a tensor's piece.
ADAPTERS: dict[str, AdapterKind] = {
    "lora": AdapterKind(
        "LoRA",
        ("LORA",),
        f"{_HERE}.lora",
        "lora_",
        (
            *("lora_A", "lora_B", "lora_B.bias", "lora_embedding_A", "lora_embedding_B"),
            *("lora_magnitude_vector", "lora_diag", "lora_a", "lora_b", "m"),
        ),
        # What VeLoRA and MonteCLoRA need for training.
        unused=("lora_velora_embed", "lora_monteclora_sampler"),
        unmerged=_UNMERGED,
    ),
    "adalora": AdapterKind(
        *("AdaLoRA", ("ADALORA",), f"{_HERE}.adalora", "lora_", ("lora_A", "lora_B", "lora_E")),
        unused=("ranknum",),
    ),
    # mlx-lm's full fine-tuning: every tensor is stored whole, under the base's name.
    "full": AdapterKind("full fine-tuning"),
    "loha": AdapterKind(
        *("LoHa", ("LOHA",), f"{_HERE}.loha", "hada_"),
        ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    ),
    "lokr": AdapterKind(
        *("LoKr", ("LOKR",), f"{_HERE}.lokr", "lokr_"),
        (
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b"),
            *("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
        ),
    ),
    "vera": AdapterKind(
        *("VeRA", ("VERA",), f"{_HERE}.vera", "vera_"),
        ("vera_A", "vera_B", "vera_lambda_b", "vera_lambda_d"),
    ),
    "ia3": AdapterKind("IA3", ("IA3",), f"{_HERE}.ia3", "ia3_", ("ia3_l",)),
    "oft": AdapterKind("OFT", ("OFT",), f"{_HERE}.oft", "oft_", ("oft_R", "oft_embedding_R")),
    "boft": AdapterKind(
        *("BOFT", ("BOFT",), f"{_HERE}.boft", "boft_", ("boft_R", "boft_s")), unused=("boft_P",)
    ),
    "hra": AdapterKind("HRA", ("HRA",), f"{_HERE}.hra", "hra_", ("hra_u",)),
    "miss": AdapterKind("MiSS", ("MISS",), f"{_HERE}.miss", "miss_", ("miss_block",)),
    "c3a": AdapterKind("C3A", ("C3A",), f"{_HERE}.c3a", "c3a_", ("c3a_kernel",)),
    "shira": AdapterKind(
        "SHiRA", ("SHIRA",), f"{_HERE}.shira", "shira_", ("shira_weight", "shira_indices")
    ),
    "ln_tuning": AdapterKind(
        *("LN tuning", ("LN_TUNING",), f"{_HERE}.ln_tuning", "ln_tuning_layers"),
        ("ln_tuning_layers", "ln_tuning_layers.bias"),
    ),
    "trainable_tokens": AdapterKind(
        *("trainable tokens", ("TRAINABLE_TOKENS",), f"{_HERE}.tokens", "trainable_tokens_"),
        ("trainable_tokens_delta",),
        unused=("trainable_tokens_original",),
    ),
    "kohya": AdapterKind("a LoRA in kohya's or diffusers' names", refusal=_UNCOMPUTED),
    "adamss": AdapterKind("AdaMSS", ("ADAMSS",), refusal=_UNCOMPUTED),
    "beft": AdapterKind("BEFT", ("BEFT",), refusal=_UNCOMPUTED),
    "bone": AdapterKind("Bone", ("BONE",), refusal=_UNCOMPUTED),
    "deft": AdapterKind("DEFT", ("DEFT",), refusal=_UNCOMPUTED),
    "delora": AdapterKind("DeLoRA", ("DELORA",), refusal=_UNCOMPUTED),
    "fourierft": AdapterKind("FourierFT", ("FOURIERFT",), refusal=_UNCOMPUTED),
    "frod": AdapterKind("FRoD", ("FROD",), refusal=_UNCOMPUTED),
    "glora": AdapterKind("GLoRA", ("GLORA",), refusal=_UNCOMPUTED),
    "gralora": AdapterKind("GraLoRA", ("GRALORA",), refusal=_UNCOMPUTED),
    "hira": AdapterKind("HiRA", ("HIRA",), refusal=_UNCOMPUTED),
    "lily": AdapterKind("Lily", ("LILY",), refusal=_UNCOMPUTED),
    "osf": AdapterKind("OSF", ("OSF",), refusal=_UNCOMPUTED),
    "peanut": AdapterKind("PEANuT", ("PEANUT",), refusal=_UNCOMPUTED),
    "poly": AdapterKind("Poly", ("POLY",), refusal=_UNCOMPUTED),
    "psoft": AdapterKind("PSOFT", ("PSOFT",), refusal=_UNCOMPUTED),
    "pvera": AdapterKind("PVeRA", ("PVERA",), refusal=_UNCOMPUTED),
    "randlora": AdapterKind("RandLoRA", ("RANDLORA",), refusal=_UNCOMPUTED),
    "road": AdapterKind("RoAd", ("ROAD",), refusal=_UNCOMPUTED),
    "shadow": AdapterKind("Shadow", ("SHADOW",), refusal=_UNCOMPUTED),
    "supertuning": AdapterKind("Supertuning", ("SUPERTUNING",), refusal=_UNCOMPUTED),
    "tinylora": AdapterKind("TinyLoRA", ("TINYLORA",), refusal=_UNCOMPUTED),
    "unilora": AdapterKind("UniLoRA", ("UNILORA",), refusal=_UNCOMPUTED),
    "vblora": AdapterKind("VBLoRA", ("VBLORA",), refusal=_UNCOMPUTED),
    "waveft": AdapterKind("WaveFT", ("WAVEFT",), refusal=_UNCOMPUTED),
    "xlora": AdapterKind("X-LoRA", ("XLORA",), refusal=_UNCOMPUTED),
    "adaption_prompt": AdapterKind(
        "LLaMA-Adapter's prompts", ("ADAPTION_PROMPT",), refusal=_NO_WEIGHTS
    ),
    "cartridge": AdapterKind("a cartridge", ("CARTRIDGE",), refusal=_NO_WEIGHTS),
    "cpt": AdapterKind("context-aware prompt tuning", ("CPT",), refusal=_NO_WEIGHTS),
    "multitask_prompt_tuning": AdapterKind(
        "multitask prompt tuning", ("MULTITASK_PROMPT_TUNING",), refusal=_NO_WEIGHTS
    ),
    "p_tuning": AdapterKind("p-tuning", ("P_TUNING",), refusal=_NO_WEIGHTS),
    "prefix_tuning": AdapterKind("prefix tuning", ("PREFIX_TUNING",), refusal=_NO_WEIGHTS),
    "prompt_tuning": AdapterKind("prompt tuning", ("PROMPT_TUNING",), refusal=_NO_WEIGHTS),
}
