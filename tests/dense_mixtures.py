"""Six families of mixtures computed densely by numpy in float64, as their papers define them."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from tiny_mixtures import ACTIVE, rows

ROWS = rows()


class Seen(nn.Module):
    """A block that keeps what it is given."""

    def __init__(self, inner, kept):
        super().__init__()
        self.inner, self._keep = inner, kept.append

    def __call__(self, x):
        self._keep(np.array(x, np.float64).reshape(-1, x.shape[-1]))
        return self.inner(x)


def block_inputs(model, block):
    """What a block is given, (T, dim), by a run of its own."""
    kept = []
    block.holder[block.key] = Seen(block.module, kept)
    for row in ROWS:
        mx.eval(model(mx.array(row[None, :-1])))
    block.holder[block.key] = block.module
    return np.concatenate(kept)


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def largest(scores, count):
    """Which scores of each row are among its largest."""
    return np.argsort(np.argsort(-scores, -1), -1) < count


def numbers(array):
    return np.array(array, np.float64)


def logits_of(router, x):
    found = x @ numbers(router.weight).T
    return found + numbers(router.bias) if "bias" in router else found


def top_of_softmax(normed):
    def weights(block, x):
        shares = softmax(logits_of(block.gate, x))
        kept = np.where(largest(shares, ACTIVE), shares, 0)
        return kept / kept.sum(-1, keepdims=True) if normed else kept

    return weights


def softmax_of_top(router):
    def weights(block, x):
        logits = logits_of(router(block), x)
        return softmax(np.where(largest(logits, ACTIVE), logits, -np.inf))

    return weights


def grouped_choice(block, x, left_out=0.0):
    """Scores by which experts are chosen: the best two of four groups, judged by two experts."""
    shares = sigmoid(logits_of(block.gate, x))
    choice = (shares + numbers(block.gate.e_score_correction_bias)).reshape(len(x), 4, -1)
    of_group = np.sort(choice, -1)[..., -2:].sum(-1)
    return np.where(largest(of_group, 2)[..., None], choice, left_out).reshape(len(x), -1)


def grouped_sigmoid(block, x):
    shares = sigmoid(logits_of(block.gate, x))
    choice = grouped_choice(block, x)
    kept = np.where(largest(choice, ACTIVE), shares, 0)
    return 1.5 * kept / kept.sum(-1, keepdims=True)


# The mixing weights of all experts, (T, N), as the papers of the families define them.
WEIGHTS = {
    "qwen3_moe": top_of_softmax(True),
    "olmoe": top_of_softmax(False),
    "mixtral": softmax_of_top(lambda block: block.gate),
    "gpt_oss": softmax_of_top(lambda block: block.router),
    "granitemoe": softmax_of_top(lambda block: block.router.layer),
    "deepseek_v3": grouped_sigmoid,
}


def dense_outputs(family, experts, x):
    """The outputs of all experts for all tokens, (T, N, dim)."""

    def through(matrix, of):
        found = np.einsum(
            "noi,tni->tno" if of.ndim == 3 else "noi,ti->tno", numbers(matrix.weight), of
        )
        return found + numbers(matrix.bias) if "bias" in matrix else found

    gate, up = through(experts.gate_proj, x), through(experts.up_proj, x)
    if family == "gpt_oss":
        gate, up = np.minimum(gate, 7), np.clip(up, -7, 7) + 1
        return through(experts.down_proj, gate * sigmoid(1.702 * gate) * up)
    return through(experts.down_proj, gate * sigmoid(gate) * up)
