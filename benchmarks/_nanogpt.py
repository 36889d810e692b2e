"""nanoGPT's recipe for small machines, written anew in torch: a GPT-2 on characters.

The model and its training as nanoGPT (Karpathy, 2023) describes them for a CPU: characters, four
layers, four heads, 128 wide, blocks of 64, batches of 12, no dropout, 2,000 iterations. A block is
GPT-2's (Radford et al., 2019) without biases: layer normalization, attention, GELU of four times
the width, learned positions, tied embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

__all__ = ["GPT", "NanoRecipe", "bits_per_byte", "encoded", "flops_per_token", "train"]


@dataclass(frozen=True)
class NanoRecipe:
    """Sizes and training.

    Attributes:
        vocabulary: Characters.
        iterations: Steps; the cosine ends with the last one.
    """

    vocabulary: int
    iterations: int = 2000
    layers: int = 4
    heads: int = 4
    width: int = 128
    block: int = 64
    batch: int = 12
    rate: float = 1e-3
    final_rate: float = 1e-4
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    clip: float = 1.0

    @property
    def tokens(self) -> int:
        """Characters in all iterations."""
        return self.iterations * self.batch * self.block


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, recipe: NanoRecipe) -> None:
        super().__init__()
        width = recipe.width
        self.heads = recipe.heads
        self.norm_1 = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.norm_2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The stream after the block, (batch, positions, width)."""
        batch, positions, width = x.shape
        parts = self.qkv(self.norm_1(x)).split(width, dim=2)
        q, k, v = (part.view(batch, positions, self.heads, -1).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(attended.transpose(1, 2).reshape(batch, positions, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):
    """Characters to the scores of the next one."""

    def __init__(self, recipe: NanoRecipe) -> None:
        super().__init__()
        self.embedding = nn.Embedding(recipe.vocabulary, recipe.width)
        self.positions = nn.Embedding(recipe.block, recipe.width)
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.layers))
        self.norm = nn.LayerNorm(recipe.width, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                into_stream = name.endswith(("attention_out.weight", "down.weight"))
                share = math.sqrt(2 * recipe.layers) if into_stream else 1.0
                nn.init.normal_(weight, 0.0, 0.02 / share)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, (batch, positions, vocabulary)."""
        x = self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.embedding.weight.T


def flops_per_token(recipe: NanoRecipe) -> int:
    """Operations of all matrix products of a step, for each character.

    Forward 2 for each weight of a matrix and 4 for each pair of positions and coordinate
    (scores, and values; the whole square); backward twice that.
    """
    weights = recipe.layers * 12 * recipe.width**2 + recipe.vocabulary * recipe.width
    return 3 * (2 * weights + 4 * recipe.layers * recipe.block * recipe.width)


def encoded(train: str, validation: str) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Both texts as numbers of characters, and how many characters there are.

    nanoGPT numbers the characters of the whole text, as is done here.
    """
    characters = {letter: i for i, letter in enumerate(sorted(set(train) | set(validation)))}
    numbers = [np.array([characters[c] for c in text]) for text in (train, validation)]
    return numbers[0], numbers[1], len(characters)


def train(recipe: NanoRecipe, text: NDArray[np.int64], seed: int) -> GPT:
    """Train a model on random windows of a text."""
    torch.manual_seed(seed)
    model, batches = GPT(recipe), _windows(recipe, text, seed)
    matrices = [weight for weight in model.parameters() if weight.ndim == 2]
    scales = [weight for weight in model.parameters() if weight.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": scales, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=recipe.betas, fused=True)
    for iteration in range(recipe.iterations):
        for group in optimizer.param_groups:
            group["lr"] = _rate(iteration, recipe)
        tokens = next(batches)
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
    return model


def bits_per_byte(model: GPT, recipe: NanoRecipe, text: NDArray[np.int64], size: int) -> float:
    """Of all windows of a text, side by side, whose bytes in UTF-8 are `size`."""
    count = (len(text) - 1) // recipe.block
    starts = np.arange(count)[:, None] * recipe.block
    windows = torch.from_numpy(text[starts + np.arange(recipe.block + 1)])
    nats = 0.0
    with torch.no_grad():
        for rows in windows.split(64):
            logits = model(rows[:, :-1]).flatten(0, 1)
            nats += F.cross_entropy(logits, rows[:, 1:].flatten(), reduction="sum").item()
    # The characters of the windows have the text's mean number of bytes.
    return nats / (math.log(2) * size * count * recipe.block / len(text))


def _windows(recipe: NanoRecipe, text: NDArray[np.int64], seed: int) -> Iterator[Tensor]:
    random = np.random.default_rng(seed)
    offsets = np.arange(recipe.block + 1)
    while True:
        starts = random.integers(0, len(text) - recipe.block, (recipe.batch, 1))
        yield torch.from_numpy(text[starts + offsets])


def _rate(iteration: int, recipe: NanoRecipe) -> float:
    if iteration < recipe.warmup:
        return recipe.rate * (iteration + 1) / (recipe.warmup + 1)
    share = (iteration - recipe.warmup) / (recipe.iterations - recipe.warmup)
    return (
        recipe.final_rate + (recipe.rate - recipe.final_rate) * (1 + math.cos(math.pi * share)) / 2
    )
