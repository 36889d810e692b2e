"""Small models for budgets, and what a written choice costs."""

import mlx.core as mx
import numpy as np
from tiny_llm import make_model, make_tokenizer


def lm(folder, dtype="float32", **shape):
    with mx.stream(mx.cpu):
        return make_model(
            folder / "model", make_tokenizer(folder / "tokenizer"), dim=64, hidden=128, dtype=dtype,
            **shape,
        )  # fmt: skip


def weights(folder):
    return mx.load(str(folder / "model.safetensors"))


def norm(x):
    return float(np.sum(np.asarray(x, np.float64) ** 2))


def float32(array):
    return np.array(array.astype(mx.float32))


def chosen(plan, kind):
    return [each for each in plan.chosen if each.choice.kind == kind]


def written_error(array, choice):
    """The squared error of what a file would hold."""
    exact = float32(array).astype(np.float64)
    if choice.way is not None:
        words, scales, *biases = mx.quantize(array, **choice.way.settings())
        if choice.way.mode == "affine":
            scales, biases = scales.astype(mx.float32), [biases[0].astype(mx.float32)]
        found = mx.dequantize(words, scales, *biases, **choice.way.settings(), dtype=mx.float32)
        return norm(np.array(found) - exact)
    if choice.rank is None:
        return 0.0
    u, s, v = np.linalg.svd(exact, full_matrices=False)
    root = np.sqrt(s[: choice.rank])
    left = float32(mx.array((u[:, : choice.rank] * root).astype(np.float32)).astype(array.dtype))
    right = float32(mx.array((root[:, None] * v[: choice.rank]).astype("f4")).astype(array.dtype))
    return norm(left.astype(np.float64) @ right - exact)
