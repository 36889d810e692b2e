"""Text and losses of benchmarks of mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["SHARES", "Text", "damage", "loss_of"]

# Of the experts, in a damage curve.
SHARES = (1.0, 0.75, 0.5, 0.25)


class Text:
    """The text of all trainings, tokenized once."""

    def __init__(self, model: str, data: str, folder: Path, sizes: dict[str, int]) -> None:
        from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
        from mlx_probe.lab.data.tokenize import tokenize
        from mlx_probe.lab.generate.folder import find_model_folder, tokenizer_folder

        self.model, self.data, self.sizes = model, data, sizes
        self.folder = folder / "tokens"
        kind = TokenizerConfig(kind=str(tokenizer_folder(find_model_folder(model))))
        config = DataConfig(sources=(data,), document="chunk", workers=1)
        self.manifest = tokenize(config, kind, 0, self.folder)

    def windows(self, split: Any, tokens: int) -> list[Any]:
        """Batches from the beginning of a split."""
        from mlx_probe.lab.data.loader import TokenStream, windows_in_order

        stream = TokenStream(self.folder, split, self.manifest)
        return list(windows_in_order(stream, self.sizes["batch"], self.sizes["context"], tokens))

    def plain(self, seed: int) -> Path:
        """A file with text of a seed's training."""
        from mlx_probe.lab.data.tokenizer import load_tokenizer

        path = self.folder.with_name(f"training-{seed}.txt")
        tokens = np.concatenate(self.training(seed, 4)).ravel()
        path.write_text(load_tokenizer(self.folder / "tokenizer").decode(tokens.tolist()), "utf-8")
        return path

    def training(self, seed: int, steps: int) -> list[Any]:
        """The batches of a seed's training."""
        from mlx_probe.lab.data.loader import Loader, TokenStream

        stream = TokenStream(self.folder, "train", self.manifest)
        loader = Loader(stream, self.sizes["batch"], self.sizes["context"], seed)
        return [loader.batch_at(position) for position in range(steps)]


def loss_of(network: Any, batches: Sequence[Any]) -> float:
    """Mean nats a token."""
    from mlx_probe.lab.moe.logits import mean_loss

    return mean_loss(network, np.concatenate(batches).astype(np.int32))


def damage(network: Any, block: str, batches: Sequence[Any], is_sum: bool) -> list[float]:
    """The loss with shares of the experts; the blocks are as before at the end."""
    from mlx_probe.lab.moe.damage import TopExperts

    before = [layer[block] for layer in network.layers]
    tops = [TopExperts(_stock(mixture), is_sum) for mixture in before]
    losses = []
    for layer, top in zip(network.layers, tops, strict=True):
        layer[block] = top
    for share in SHARES:
        for top in tops:
            top.active = max(1, round(share * top.gate.weight.shape[0]))
        losses.append(loss_of(network, batches))
    for layer, mixture in zip(network.layers, before, strict=True):
        layer[block] = mixture
    return losses


def _stock(mixture: Any) -> Any:
    """A mixture with a gate as mlx-lm has it."""
    import mlx.nn as nn

    gate = nn.Linear(*mixture.gate.weight.shape[::-1], bias=False)
    gate.weight = mixture.gate.weight
    return SimpleNamespace(gate=gate, switch_mlp=mixture.switch_mlp)
