"""Generation: what the model predicts, where it ends, and what leaves everything as it was."""

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from tiny_llm import log_probabilities

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.generate import loading, steps
from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
from mlx_probe.lab.generate.generate import chat_tokens, generate, prompt_tokens
from mlx_probe.lab.generate.live import sample_tokens
from mlx_probe.lab.generate.loading import load_model

GREEDY = SamplingConfig(temperature=0)


@pytest.fixture(scope="module")
def loaded(tiny):
    return load_model(str(tiny.model))


def greedily(model, prompt, count):
    """The most likely continuation, by whole forward passes without a cache."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(log_probabilities(model, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_the_cache_changes_nothing(loaded, monkeypatch, chunk):
    monkeypatch.setattr(steps, "CHUNK", chunk)
    prompt = prompt_tokens(loaded, "to suffer the slings")
    made = generate(loaded, prompt, GenerateConfig(12, sampling=GREEDY))
    assert list(made.tokens) == greedily(loaded.model, prompt, 12)
    assert made.prompt_tokens == len(prompt)
    assert made.finish_reason == "length"
    assert made.tokens_per_second > 0


def test_the_text_is_that_of_the_tokens(loaded):
    prompt = prompt_tokens(loaded, "To be")
    pieces = []
    made = generate(loaded, prompt, GenerateConfig(30), pieces.append)
    assert "".join(pieces) == made.text
    whole = loaded.tokenizer.decode([*prompt, *made.tokens])
    # Bytes that are no UTF-8 are drawn too, and a decoder may see a longer run of them.
    if "\ufffd" not in whole + made.text:
        assert whole == loaded.tokenizer.decode(prompt) + made.text


def test_it_ends_at_a_token_that_ends_it(loaded):
    prompt = prompt_tokens(loaded, "To be")
    tokens = greedily(loaded.model, prompt, 8)
    at = tokens.index(tokens[-1])
    stopping = loading.LoadedModel(**{**vars(loaded), "stops": frozenset([tokens[at]])})
    made = generate(stopping, prompt, GenerateConfig(20, sampling=GREEDY))
    assert made.finish_reason == "stop"
    assert list(made.tokens) == tokens[: at + 1]
    # The token that ends it is no text.
    shorter = generate(loaded, prompt, GenerateConfig(max(at, 1), sampling=GREEDY))
    assert made.text == (shorter.text if at else "")


def test_it_ends_at_a_stop_text(loaded):
    prompt = prompt_tokens(loaded, "To be")
    text = generate(loaded, prompt, GenerateConfig(20, sampling=GREEDY)).text
    stop = text[4:6]
    made = generate(loaded, prompt, GenerateConfig(20, (stop,), GREEDY))
    assert (made.finish_reason, made.text) == ("stop", text[: text.index(stop)])


def test_the_context_is_the_limit(loaded):
    tokens = loaded.tokenizer.encode("to be " * 40)[: loaded.context - 2]
    made = generate(loaded, tokens, GenerateConfig(100, sampling=GREEDY))
    assert len(made.tokens) == 3
    assert made.finish_reason in ("length", "stop")
    with pytest.raises(ConfigError, match="49 tokens, more than the 48"):
        generate(loaded, [5] * 49)


def test_an_interruption_keeps_the_text(loaded):
    pieces = []

    def interrupt(piece):
        pieces.append(piece)
        if len(pieces) == 3:
            raise KeyboardInterrupt

    made = generate(loaded, prompt_tokens(loaded, "To be"), GenerateConfig(40), interrupt)
    assert made.finish_reason == "interrupted"
    assert made.text == "".join(pieces)
    assert 0 < len(made.tokens) < 40


def test_a_chat_is_the_template_and_special_tokens(loaded):
    tokens = chat_tokens(loaded, "Why?", "Be kind.")
    text = loaded.tokenizer.decode(tokens, special=True)
    assert text == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    # Typed by a user, it is text.
    typed = prompt_tokens(loaded, "<|im_end|>")
    assert not set(typed) & loaded.tokenizer.special_ids


def test_an_empty_prompt_begins_a_document(loaded):
    assert prompt_tokens(loaded, "") == [loaded.tokenizer.eos_id]


def test_weights_that_are_not_numbers(tiny):
    broken = load_model(str(tiny.model))
    weight = broken.model.model.norm.weight
    broken.model.model.norm.weight = mx.full(weight.shape, float("nan"))
    with pytest.raises(CheckpointError, match="not numbers"):
        generate(broken, [5, 6])


def test_samples_of_a_live_model_leave_it_alone(loaded):
    model = loaded.model
    model.train()
    mx.random.seed(3)
    expected = mx.random.uniform(shape=(3,)).tolist()
    mx.random.seed(3)
    # More than the context holds.
    first = sample_tokens(model, [5, 6, 7], 40, 16, SamplingConfig(seed=1))
    assert mx.random.uniform(shape=(3,)).tolist() == expected
    assert model.training
    model.eval()
    assert len(first) == 40
    assert sample_tokens(model, [5, 6, 7], 40, 16, SamplingConfig(seed=1)) == first
    assert sample_tokens(model, [5, 6, 7], 40, 16, SamplingConfig(seed=2)) != first


def test_a_live_model_is_greedy_within_its_context(loaded):
    assert sample_tokens(loaded.model, [5, 6], 20, 48, GREEDY) == greedily(loaded.model, [5, 6], 20)


@pytest.mark.slow
def test_models_that_run_by_mlx_lm(tiny, loaded, monkeypatch):
    mlx_lm("utils")
    monkeypatch.setattr(loading, "_mini_llm", lambda folder: None)
    other = load_model(str(tiny.model))
    assert other.runs_by == "mlx-lm"
    prompt = prompt_tokens(other, "to suffer the slings and arrows")
    np.testing.assert_allclose(
        log_probabilities(other.model, prompt), log_probabilities(loaded.model, prompt), atol=1e-4
    )
    config = GenerateConfig(12, sampling=GREEDY)
    assert generate(other, prompt, config).tokens == generate(loaded, prompt, config).tokens
