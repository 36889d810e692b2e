"""Memory of inference: the weights at a bit width, and the key-value cache at a context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from mlx_probe.checkpoint.architecture import text_config

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Checkpoint

__all__ = ["CONTEXTS", "STORED", "WIDTHS", "Cache", "Inference", "cache_of", "inference_of"]

# Defaults: context lengths in tokens, and bits of a weight.
CONTEXTS = (4096, 32768)
WIDTHS = (4, 8, 16)

# The width of a model as it is stored.
STORED = 0

# Bits that each weight of a group of 64 adds for the group's scale and bias of 16 bits each
# (MLX's affine mode).
_GROUP_BITS = 32 / 64

# Model types of transformers (and architectures of GGUF) that generate nothing unless their
# configuration says so.
_ENCODERS = frozenset(
    (
        *("albert", "bert", "beit", "camembert", "canine", "clip", "clip_vision_model"),
        *("convbert", "data2vec-text", "deberta", "deberta-v2", "deit", "distilbert", "dinov2"),
        *("electra", "ernie", "esm", "eurobert", "flaubert", "fnet", "funnel", "hubert"),
        *("ibert", "jina-bert-v2", "layoutlm", "layoutlmv3", "longformer", "luke"),
        *("megatron-bert", "mobilebert", "modernbert", "modern-bert", "mpnet", "mra"),
        *("neobert", "neo-bert", "new", "nezha", "nomic-bert", "nomic_bert", "nomic-bert-moe"),
        *("nystromformer", "rembert", "roberta", "roformer", "siglip", "siglip_vision_model"),
        *("splinter", "squeezebert", "vit", "wav2vec2", "wavlm", "xlm-roberta"),
        *("xlm-roberta-xl", "xmod", "yoso"),
    )
)
# Ends of the names of classes that generate text.
_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "ForImageTextToText", "ForVision2Seq")

# Bytes of an element of the cache, which engines keep in 16 bits.
_CACHE_BYTES = 2


@dataclass(frozen=True)
class Cache:
    """Elements of the key-value cache for each token.

    Attributes:
        full: Of layers that attend to the whole context, all layers together.
        windowed: Of layers that attend to a window only.
        window: Tokens of that window; None without one.
        unknown: Why the cache is not known; "" if it is.
        none: Why the model has no cache; "" if it has one.
    """

    full: int = 0
    windowed: int = 0
    window: int | None = None
    unknown: str = ""
    none: str = ""

    def nbytes(self, context: int) -> int | None:
        """Bytes at a context of so many tokens; None if unknown."""
        if self.unknown:
            return None
        seen = min(context, self.window or context)
        return _CACHE_BYTES * (self.full * context + self.windowed * seen)


@dataclass(frozen=True)
class Inference:
    """Memory of one way to run the model, without what an engine takes besides.

    Attributes:
        bits: Of a weight; `STORED` for the stored width.
        context: Tokens.
        weights: Bytes of the weights.
        cache: Bytes of keys and values; None if unknown.
    """

    bits: int
    context: int
    weights: int
    cache: int | None

    @property
    def total(self) -> int:
        """Bytes of weights and cache; an unknown cache counts as 0."""
        return self.weights + (self.cache or 0)


def inference_of(
    checkpoint: Checkpoint, contexts: Sequence[int], widths: Sequence[int]
) -> tuple[Inference, ...]:
    """Memory for every bit width at every context.

    Below 16 bits a weight counts as in MLX's affine quantization, with a scale and a bias for
    each group of 64. Vectors, which are not quantized, are too small to matter.

    Args:
        checkpoint: The model.
        contexts: Tokens.
        widths: Bits of a weight; `STORED` for the stored width.
    """
    readable = [p for p in checkpoint.parameters if p.problem is None]
    elements = sum(parameter.numel for parameter in readable)
    stored = sum(parameter.nbytes for parameter in checkpoint.parameters)
    cache = cache_of(checkpoint)

    def weights(bits: int) -> int:
        each = bits if bits >= 16 else bits + _GROUP_BITS
        return stored if bits == STORED else round(elements * each / 8)

    return tuple(
        Inference(bits, context, weights(bits), cache.nbytes(context))
        for bits in widths
        for context in contexts
    )


def cache_of(checkpoint: Checkpoint) -> Cache:
    """The key-value cache, from the configuration.

    A layer with attention stores a key and a value for each key head; with multi-head latent
    attention, the compressed vector and the rotary part (DeepSeek-V2, arXiv:2405.04434). Layers
    of linear attention or state spaces have a state that does not grow: it is not counted.
    """
    config, known = text_config(checkpoint.config), checkpoint.architecture
    metadata, family = checkpoint.metadata, known.model_type
    if _is_encoder(config, metadata, family):
        return Cache(none=f"an encoder ({family}) keeps no keys and values")
    if config.get("is_encoder_decoder") is True:
        return Cache(
            unknown="an encoder-decoder model keeps keys and values of its input, too, whose "
            "length is another one"
        )
    layers = known.layers
    if not layers:
        return Cache(unknown="its configuration has no number of layers")
    compressed = config.get("kv_lora_rank", metadata.get(f"{family}.attention.kv_lora_rank"))
    rotary = config.get("qk_rope_head_dim", metadata.get(f"{family}.rope.dimension_count"))
    if _is_count(compressed) and _is_count(rotary):
        return Cache(full=layers * (compressed + rotary))
    if not known.kv_heads or not known.head_dim:
        return Cache(unknown="its configuration has no number of key heads, or no width of a head")
    each = 2 * known.kv_heads * known.head_dim
    window = config.get("sliding_window", metadata.get(f"{family}.attention.sliding_window"))
    window = window if _is_count(window) and config.get("use_sliding_window") is not False else None
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == layers:
        sliding = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
        full = sum(kind in ("full_attention", "attention") for kind in kinds)
    elif _is_count(interval := config.get("full_attention_interval")):
        sliding, full = 0, layers // interval
    elif window and _is_count(pattern := config.get("sliding_window_pattern")):
        full = layers // pattern
        sliding = layers - full
    else:
        sliding, full = (layers, 0) if window else (0, layers)
    if sliding and window is None:
        sliding, full = 0, full + sliding
    return Cache(full=each * full, windowed=each * sliding, window=window if sliding else None)


def _is_encoder(config: Mapping[str, Any], metadata: Mapping[str, Any], family: str | None) -> bool:
    """Whether a model reads its whole input at once and generates nothing."""
    causal = metadata.get(f"{family}.attention.causal")
    if isinstance(causal, bool):
        return not causal
    if config.get("is_decoder") is True:
        return False
    classes = config.get("architectures")
    if isinstance(classes, list) and any(
        str(name).endswith(_GENERATING) or "LMHead" in str(name) for name in classes
    ):
        return False
    return family in _ENCODERS


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 < value < 2**40
