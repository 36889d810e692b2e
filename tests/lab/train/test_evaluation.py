import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlx_probe.lab.train.evaluation import Evaluator

BYTES = np.array([0, 1, 3, 2, 1], np.int32)


class Fixed(nn.Module):
    """Predicts the same distribution whatever came before."""

    def __init__(self, logits):
        super().__init__()
        self.logits = mx.array(logits)

    def __call__(self, tokens):
        return mx.broadcast_to(self.logits, (*tokens.shape, len(self.logits)))


def test_loss_and_bits_per_byte_are_those_of_the_formulas(rng):
    logits = rng.standard_normal(5)
    nats = np.log(np.exp(logits).sum()) - logits
    batches = [rng.integers(0, 5, shape).astype(np.uint16) for shape in ((3, 9), (3, 9), (1, 9))]
    targets = np.concatenate([batch[:, 1:].ravel() for batch in batches])
    with_bytes = targets[BYTES[targets] > 0]
    assert 0 < len(with_bytes) < len(targets)

    model, calls = Fixed(logits.astype(np.float32)), []
    found = Evaluator(model, BYTES, compiled=False)(batches, lambda: calls.append(1))
    assert found.tokens == len(targets) == 56
    assert found.loss == pytest.approx(nats[targets].mean(), rel=1e-6)
    bits = nats[with_bytes].sum() / (math.log(2) * BYTES[with_bytes].sum())
    assert found.bits_per_byte == pytest.approx(bits, rel=1e-6)
    assert len(calls) == len(batches)
    assert model.training


def test_text_of_special_tokens_alone_has_no_bits_per_byte():
    found = Evaluator(Fixed(np.zeros(5, np.float32)), BYTES, compiled=False)(
        [np.zeros((1, 4), np.uint16)], lambda: None
    )
    assert found.loss == pytest.approx(math.log(5))
    assert math.isnan(found.bits_per_byte)


def test_uniform_bytes_take_eight_bits(rng):
    every = np.ones(256, np.int32)
    found = Evaluator(Fixed(np.zeros(256, np.float32)), every, compiled=False)(
        [rng.integers(0, 256, (4, 17)).astype(np.uint16)], lambda: None
    )
    assert found.bits_per_byte == pytest.approx(8.0, rel=1e-6)
