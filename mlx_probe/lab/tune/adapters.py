"""Adapters: which modules get one, how it is dropped out, and the files that mlx-lm loads.

The layers are mlx-lm's own. Its files know one rank and one scale for all modules: modules with
fewer directions than the largest are filled up with zeros when they are written, which changes no
number of the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_error
from mlx_probe.lab.model.dropout import draw_keys, dropout
from mlx_probe.lab.tensors_file import write_tensors
from mlx_probe.lab.tune.config import AdapterConfig
from mlx_probe.lab.whole_folder import whole_folder

__all__ = ["Adapters", "adapter_numbers", "add_adapters", "write_adapter"]

CONFIG, WEIGHTS = "adapter_config.json", "adapters.safetensors"
# Modules of the blocks, as all models of mlx-lm name them.
_BLOCKS = ".layers."
_LEAVES = ("lora_a", "lora_b", "m")


class _Keys:
    """Random keys of the dropout of all adapters, while a step is made."""

    keys: mx.array | None = None


class KeyedDropout(nn.Module):
    """Dropout with a key that stays the same when a block is computed again.

    mlx's own takes the next numbers of the global state: with gradient checkpointing, the gradient
    would be that of another function.

    Args:
        probability: The chance that a number is dropped.
        keys: Of all adapters.
        index: Which of them is this one's.
    """

    def __init__(self, probability: float, keys: _Keys, index: int) -> None:
        super().__init__()
        self.p, self.index = probability, index
        self._keys = keys

    def __call__(self, x: mx.array) -> mx.array:
        """Drop numbers while training."""
        keys = self._keys.keys
        if not self.training or keys is None:
            return x
        return dropout(x, self.p, keys[self.index]).astype(x.dtype)


@dataclass(frozen=True)
class Adapters:
    """What is learned in a model.

    Attributes:
        config: How.
        ranks: Rank of each module that has an adapter, by its name; empty with "full".
        blocks: Blocks of the model.
    """

    config: AdapterConfig
    ranks: Mapping[str, int]
    blocks: int
    _keys: _Keys

    def draw(self, training: bool) -> None:
        """Draw the keys of the next forward pass from MLX's global state."""
        self._keys.keys = draw_keys(len(self.ranks)) if training and self.ranks else None


def add_adapters(
    model: nn.Module, config: AdapterConfig, probability: float, seed: int
) -> Adapters:
    """Freeze a model but for what is learned; the output is the same as before.

    Args:
        model: Of mlx-lm, or a `MiniLLM`.
        config: What is learned.
        probability: Of dropout.
        seed: Of the factors that begin at random.

    Raises:
        ConfigError: No module is meant, or one is of a kind that has no such adapter.
    """
    blocks = len(model.layers)
    keys = _Keys()
    if config.method == "full":
        _unfreeze(model, config, blocks)
        return Adapters(config, {}, blocks, keys)
    model.freeze()
    chosen = [
        (name, module, config.rank_of(name))
        for name, module in sorted(model.named_modules(), key=lambda item: _natural(item[0]))
        if _is_target(name, module, config, blocks)
    ]
    chosen = [each for each in chosen if each[2]]
    if not chosen:
        raise _no_target(model, config)
    mx.random.seed(int(np.random.SeedSequence([seed, 0x10CA]).generate_state(1, np.uint64)[0]))
    made = []
    for index, (name, module, rank) in enumerate(chosen):
        layer = _adapted(name, module, config, rank)
        if probability:
            layer.dropout = KeyedDropout(probability, keys, index)
        made.append((name, layer))
    model.update_modules(tree_unflatten(made))
    return Adapters(config, {name: rank for name, _, rank in chosen}, blocks, keys)


def write_adapter(
    folder: Path, adapters: Adapters, weights: Mapping[str, mx.array], base: str, dropout: float
) -> None:
    """Write what mlx-lm loads with `adapter_path`, as a whole or not at all.

    Args:
        folder: Where; what is there is replaced.
        adapters: What is learned.
        weights: Trainable parameters by name.
        base: Reference of the model.
        dropout: Probability in training.

    Raises:
        ResultError: The disk refused.
    """
    config = adapters.config
    largest = max(adapters.ranks.values(), default=0)
    described: dict[str, Any] = {"fine_tune_type": config.method, "model": base}
    described["num_layers"] = config.layers or adapters.blocks
    if config.method != "full":
        described["lora_parameters"] = {
            "rank": largest,
            "scale": config.scale,
            "dropout": dropout,
            # Whole names: mlx-lm takes exactly these modules, in whatever blocks they are.
            "keys": list(adapters.ranks),
        }
    try:
        with whole_folder(folder) as new:
            text = json.dumps(described, indent=2) + "\n"
            (new / CONFIG).write_text(text, "utf-8")
            filled = {name: _filled(name, weights[name], largest) for name in sorted(weights)}
            write_tensors(new / WEIGHTS, filled)
    except OSError as error:
        raise write_error(folder, error) from error


def adapter_numbers(adapters: Adapters, weights: Mapping[str, mx.array]) -> int:
    """Numbers in the file that `write_adapter` writes."""
    largest = max(adapters.ranks.values(), default=0)
    return sum(_filled(name, each, largest).size for name, each in weights.items())


def _filled(name: str, weight: mx.array, rank: int) -> mx.array:
    """A factor with as many directions as all others have."""
    leaf = name.rpartition(".")[2]
    if leaf == "lora_a" and weight.ndim == 2:
        return mx.pad(weight, [(0, 0), (0, rank - weight.shape[1])])
    if leaf == "lora_b" and weight.ndim == 2:
        return mx.pad(weight, [(0, rank - weight.shape[0]), (0, 0)])
    return weight


def _is_target(name: str, module: nn.Module, config: AdapterConfig, blocks: int) -> bool:
    kinds: tuple[type, ...] = (nn.Linear, nn.QuantizedLinear)
    if config.targets:
        if not any(fnmatchcase(name, glob) for glob in config.targets):
            return False
        kinds += (nn.Embedding, nn.QuantizedEmbedding)
    elif _BLOCKS not in f".{name}":
        return False
    return (isinstance(module, kinds) or _is_switch(module)) and _in_layers(name, config, blocks)


def _in_layers(name: str, config: AdapterConfig, blocks: int) -> bool:
    """Whether a module is in one of the blocks that are tuned, or in none."""
    _before, inside, rest = f".{name}".partition(_BLOCKS)
    if not inside or not config.layers:
        return True
    number = rest.partition(".")[0]
    return not number.isdigit() or int(number) >= blocks - config.layers


def _is_switch(module: nn.Module) -> bool:
    from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear

    return isinstance(module, (SwitchLinear, QuantizedSwitchLinear))


def _adapted(name: str, module: Any, config: AdapterConfig, rank: int) -> Any:
    from mlx_lm.tuner.dora import DoRAEmbedding, DoRALinear
    from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear, LoRASwitchLinear

    dora = config.method == "dora"
    if isinstance(module, (nn.Linear, nn.QuantizedLinear)):
        kind: Any = DoRALinear if dora else LoRALinear
    elif dora and (_is_switch(module) or isinstance(module, nn.QuantizedEmbedding)):
        raise ConfigError(
            f"{name} is a {type(module).__name__}, for which mlx-lm has no DoRA",
            "Set adapter.method=lora, or leave it out with adapter.ranks or adapter.targets",
        )
    elif _is_switch(module):
        kind = LoRASwitchLinear
    else:
        kind = DoRAEmbedding if dora else LoRAEmbedding
    # Without dropout of its own: see `KeyedDropout`.
    return kind.from_base(module, r=rank, dropout=0.0, scale=config.scale)


def _unfreeze(model: nn.Module, config: AdapterConfig, blocks: int) -> None:
    """Let all weights be learned that are meant; quantized ones cannot."""
    model.unfreeze()
    for name, module in model.named_modules():
        if isinstance(module, (nn.QuantizedLinear, nn.QuantizedEmbedding)):
            raise ConfigError(
                f"{name} is quantized, and codes cannot be learned",
                "Set adapter.method=lora, or give the model before it was quantized",
            )
        if not name:
            continue
        meant = not config.targets or any(fnmatchcase(name, glob) for glob in config.targets)
        if not (meant and _in_layers(name, config, blocks) and (config.layers == 0 or _in(name))):
            module.freeze(recurse=False)
    model.freeze(recurse=False)
    if not tree_flatten(model.trainable_parameters()):
        raise _no_target(model, config)


def _in(name: str) -> bool:
    return _BLOCKS in f".{name}"


def _no_target(model: nn.Module, config: AdapterConfig) -> ConfigError:
    names: Sequence[str] = [name for name, _ in model.named_modules() if _in(name)]
    shown = ", ".join(sorted(names, key=_natural)[-3:])
    return ConfigError(
        f"adapter.targets {', '.join(config.targets) or '*.layers.*'} name no module of the model",
        f"Its modules are called {shown} and so on",
    )


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.split(".")]
