"""Answers that are drawn side by side are those that each would be alone."""

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from tiny_llm import log_probabilities

from mlx_probe.core.errors import CheckpointError
from mlx_probe.lab.generate import steps
from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
from mlx_probe.lab.generate.generate import generate
from mlx_probe.lab.generate.group import draw_group
from mlx_probe.lab.generate.loading import load_model

PROMPT = [9, 40, 77, 12, 100, 31, 8]
# Ends answers at different lengths, whatever the model.
STOPS = frozenset(range(5, 60))


@pytest.fixture(scope="module")
def loaded(tiny):
    return load_model(str(tiny.model))


def gemma():
    """A model whose layers see the last eight positions only, by mlx-lm's rotating cache."""
    gemma3_text = mlx_lm("models.gemma3_text")
    mx.random.seed(4)
    model = gemma3_text.Model(
        gemma3_text.ModelArgs(
            model_type="gemma3_text", hidden_size=32, num_hidden_layers=6, intermediate_size=48,
            num_attention_heads=4, head_dim=16, num_key_value_heads=2, vocab_size=320,
            sliding_window=8, query_pre_attn_scalar=16,
        )
    )  # fmt: skip
    mx.eval(model.parameters())
    return model


@pytest.mark.parametrize("kind", ["ours", "rotating"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_each_row_is_predicted_from_its_own_tokens(loaded, kind, temperature):
    """Also after other rows have ended and left the batch."""
    model = loaded.model if kind == "ours" else gemma()
    answers = draw_group(model, PROMPT, 6, 20, temperature, [1, 2], STOPS)
    lengths = [len(answer.tokens) for answer in answers]
    assert len(set(lengths)) > 2
    assert len({answer.tokens.tobytes() for answer in answers}) > 3
    for answer in answers:
        tokens = answer.tokens.tolist()
        assert not STOPS & set(tokens[:-1])
        assert answer.is_finished == (tokens[-1] in STOPS)
        assert answer.is_finished or len(tokens) == 20
        scores = log_probabilities(model, [*PROMPT, *tokens])[len(PROMPT) - 1 : -1] / temperature
        scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
        wanted = scores[np.arange(len(tokens)), tokens]
        np.testing.assert_allclose(answer.logprobs, wanted, atol=2e-4)


def test_without_temperature_it_is_the_most_likely_answer(loaded, monkeypatch):
    monkeypatch.setattr(steps, "CHUNK", 3)
    (answer,) = draw_group(loaded.model, PROMPT, 1, 12, 0.0, [0], frozenset())
    made = generate(loaded, PROMPT, GenerateConfig(12, sampling=SamplingConfig(temperature=0)))
    assert tuple(answer.tokens.tolist())[: len(made.tokens)] == made.tokens


def test_the_seed_alone_decides(loaded):
    def drawn(*seed):
        mx.random.seed(int(np.random.default_rng().integers(1 << 30)))
        answers = draw_group(loaded.model, PROMPT, 3, 8, 1.0, seed, frozenset())
        return [answer.tokens.tolist() for answer in answers]

    assert drawn(0, 1, 2) == drawn(0, 1, 2) != drawn(0, 1, 3)


class Fixed:
    """A model that always predicts the same."""

    def __init__(self, shares):
        self._logits = mx.log(mx.array(shares))
        self.layers = ()

    def __call__(self, tokens, cache):
        return mx.broadcast_to(self._logits, (*tokens.shape, self._logits.size))


def test_tokens_are_drawn_as_often_as_they_are_likely():
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    answers = draw_group(Fixed(shares), [0], 4000, 2, 1.0, [7], frozenset())
    tokens = np.concatenate([answer.tokens for answer in answers])
    counts = np.bincount(tokens, minlength=4)
    spread = np.sqrt(8000 * shares * (1 - shares))
    assert (np.abs(counts - 8000 * shares) < 4 * spread).all()
    logs = np.concatenate([answer.logprobs for answer in answers])
    np.testing.assert_allclose(logs, np.log(shares)[tokens], rtol=1e-5)


def test_no_numbers_are_refused():
    with pytest.raises(CheckpointError, match="not numbers"):
        draw_group(Fixed([1.0, float("nan")]), [0], 2, 2, 1.0, [7], frozenset())


def test_it_can_be_ended_before_each_token(loaded):
    calls = []

    def count():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_group(loaded.model, PROMPT, 2, 8, 1.0, [0], frozenset(), count)
