"""The dense model that is grafted: what it is, and why others are refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.core.errors import ConfigError, damaged
from mlx_probe.lab.elements import require_floats
from mlx_probe.lab.moe.stock import STOCKS, Stock, is_mixture

__all__ = ["BLOCK", "Dense", "read_dense"]

# The matrices of a feed-forward block: gate, up, down.
BLOCK = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
# What some writers store although it follows from config.json.
_COMPUTED = "rotary_emb.inv_freq"
# What no stock mixture has, by the key of config.json, with the values that mean it is absent.
_ABSENT: Mapping[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "use_sliding_window": (False, None),
    "sliding_window": (None,),
}


@dataclass(frozen=True)
class Dense:
    """A dense model.

    Attributes:
        stock: The mixture that it becomes.
        layers: How many.
        dim: Width of the residual stream.
        hidden: Hidden units of a block.
        blocks: Matrices of each layer's block: gate (hidden, dim), up, down (dim, hidden).
        tied: Whether its output head is the embedding.
        kept: Names of the parameters that stay as they are.
        rope_theta: Base of the rotary embedding.
    """

    stock: Stock
    layers: int
    dim: int
    hidden: int
    blocks: tuple[tuple[Weight, Weight, Weight], ...]
    tied: bool
    kept: tuple[str, ...]
    rope_theta: float


def read_dense(model: Checkpoint) -> Dense:
    """What a model is.

    Raises:
        CheckpointError: It is damaged, or of another shape than config.json says.
        ConfigError: No stock mixture has its attention, or it is a mixture already.
    """
    path, config = model.files.path, model.config
    stock = _stock(model)
    counts = {
        key: config.get(key)
        for key in ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
    }
    for key, count in counts.items():
        if type(count) is not int or count < 1:
            raise damaged(model.files.config or path, f"{key} is {count!r}, not a count")
    layers, dim, hidden, heads = (int(str(count)) for count in counts.values())
    head_dim = config.get("head_dim") or dim // heads
    if not stock.own_head_dim and head_dim * heads != dim:
        raise _refused(model, stock, f"its heads are {head_dim} wide, not {dim} / {heads}")
    tied = bool(config.get("tie_word_embeddings", False))
    weights = {weight.name: weight for weight in model.weights() if weight.part is None}
    kept = _kept(stock, layers, tied)
    names = [f"model.layers.{i}.{each}.weight" for i in range(layers) for each in BLOCK]
    shapes = dict(zip(BLOCK, ((hidden, dim), (hidden, dim), (dim, hidden)), strict=True))
    for name in (*kept, *names):
        if name not in weights:
            raise damaged(path, f"tensor {name} is missing")
        require_floats(weights[name])
    for name in names:
        wanted = shapes[name.split(".", 3)[3].removesuffix(".weight")]
        if weights[name].shape != wanted:
            raise damaged(path, f"tensor {name} has the shape {weights[name].shape}, not {wanted}")
    more = set(weights) - {*kept, *names, HEAD}
    if other := next((name for name in sorted(more) if not name.endswith(_COMPUTED)), None):
        raise _refused(model, stock, f"its tensor {other} has no place there")
    blocks: defaultdict[int, list[Weight]] = defaultdict(list)
    for name in names:
        blocks[int(name.split(".")[2])].append(weights[name])
    return Dense(
        stock=stock,
        layers=layers,
        dim=dim,
        hidden=hidden,
        blocks=tuple((gate, up, down) for gate, up, down in blocks.values()),
        tied=tied,
        kept=kept,
        rope_theta=_rope_theta(model, stock),
    )


def _stock(model: Checkpoint) -> Stock:
    path, config = model.files.path, model.config
    if is_mixture(config):
        raise ConfigError(
            f"{path} is a mixture already: {config.get('model_type')}",
            "Give the dense model that it was made from",
        )
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in STOCKS:
        raise ConfigError(
            f"{path}: no stock mixture is known with the attention of {kind!r}",
            f"Give a model of type {' or '.join(STOCKS)}",
        )
    stock = STOCKS[kind]
    for key, allowed in _ABSENT.items():
        if config.get(key, allowed[0]) not in allowed and not _is_unused_window(key, config):
            raise _refused(model, stock, f"{key} is {config[key]!r}")
    return stock


def _is_unused_window(key: str, config: Mapping[str, Any]) -> bool:
    """Qwen3's config.json names a window that it does not use."""
    return key == "sliding_window" and config.get("use_sliding_window") is False


def _kept(stock: Stock, layers: int, tied: bool) -> tuple[str, ...]:
    projections = [f"self_attn.{each}_proj" for each in "qkvo"]
    norms = [f"self_attn.{each}" for each in stock.norms]
    each_layer = ("input_layernorm", "post_attention_layernorm", *projections, *norms)
    return (
        *(EMBEDDING, "model.norm.weight"),
        *(() if tied else (HEAD,)),
        *(f"model.layers.{i}.{name}.weight" for i in range(layers) for name in each_layer),
    )


def _rope_theta(model: Checkpoint, stock: Stock) -> float:
    """The base of plain rotary embeddings; mlx-lm's mixtures scale none."""
    config = model.config
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise damaged(model.files.config or model.files.path, f"rope_parameters is {rope!r}")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise _refused(model, stock, f"its rotary embedding is scaled: {kind}")
    theta: Any = rope.get("rope_theta", config.get("rope_theta", 10_000.0))
    return float(theta)


def _refused(model: Checkpoint, stock: Stock, reason: str) -> ConfigError:
    return ConfigError(
        f"{model.files.path} does not become a stock {stock.model_type}: {reason}",
        f"Give a plain model of type {' or '.join(STOCKS)}",
    )
