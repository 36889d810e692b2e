"""Evaluation against its definition, the trainer's evaluation and transformers."""

import json
import math
import shutil

import mlx.core as mx
import numpy as np
import pytest
from lab import transformers
from tiny_llm import TEXTS, log_probabilities, make_model, make_tokenizer

from mlx_probe.core.errors import CheckpointError, ConfigError, ResultError, SourceError
from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.loader import TokenStream, windows_in_order
from mlx_probe.lab.data.tokenize import tokenize
from mlx_probe.lab.evaluate import perplexity
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.evaluate import evaluate
from mlx_probe.lab.evaluate.perplexity import token_nats
from mlx_probe.lab.evaluate.windows import windows
from mlx_probe.lab.generate.loading import load_model
from mlx_probe.lab.train.evaluation import Evaluator


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A file of 60 documents of a line."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    words = " ".join(TEXTS).split()
    draw = np.random.default_rng(0)
    lines = [" ".join(draw.choice(words, draw.integers(3, 12))) for _ in range(60)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def tokens(tiny, text, tmp_path_factory):
    """The same documents as tokens of the tiny model."""
    folder = tmp_path_factory.mktemp("tokens") / "data"
    data = DataConfig(sources=(str(text),), document="line", validation=0.5, workers=1)
    tokenize(data, TokenizerConfig(kind=str(tiny.tokenizer)), 0, folder)
    return folder


LINES = EvaluateConfig(document="line")


def by_definition(loaded, ids, context, stride):
    """Nats of each token after the first, predicted from what the windows promise."""
    nats = []
    for window in windows(len(ids), context, stride, tail=True):
        seen = ids[window.start : window.stop]
        logs = log_probabilities(loaded.model, seen[:-1])
        for at in range(window.scored - window.start, len(seen)):
            nats.append(-logs[at - 1, seen[at]])
    return np.array(nats)


@pytest.mark.parametrize(("context", "stride"), [(48, 48), (16, 16), (16, 5), (7, 1)])
def test_the_nats_are_those_of_the_definition(tiny, context, stride):
    loaded = load_model(str(tiny.model))
    ids = np.array(loaded.tokenizer.encode(TEXTS[0])[:70])
    found = token_nats(loaded, ids, list(windows(len(ids), context, stride, tail=True)))
    np.testing.assert_allclose(found, by_definition(loaded, ids, context, stride), atol=2e-5)


def test_the_values_are_those_of_their_formulas(tiny, text):
    result = evaluate(str(tiny.model), str(text), config=LINES)
    loaded = load_model(str(tiny.model))
    tokenizer = loaded.tokenizer
    lines = text.read_text().split("\n")
    ids = [i for line in lines for i in [*tokenizer.encode(line), tokenizer.eos_id]]
    nats = by_definition(loaded, np.array(ids), 48, 48)
    sizes = tokenizer.token_bytes()[ids[1:]]
    assert result["tokens"] == len(ids) - 1
    assert result["bytes"] == sizes.sum()
    assert result["documents"] == 60
    assert result["val_loss"] == pytest.approx(nats.mean(), rel=1e-6)
    assert result["perplexity"] == pytest.approx(math.exp(nats.mean()), rel=1e-5)
    bits = nats[sizes > 0].sum() / (math.log(2) * sizes.sum())
    assert result["bits_per_byte"] == pytest.approx(bits, rel=1e-6)
    intervals = result["intervals"]
    assert (intervals["unit"], intervals["units"]) == ("documents", 60)
    for name in ("val_loss", "perplexity", "bits_per_byte"):
        low, high = intervals[name]
        assert low < result[name] < high
    assert evaluate(str(tiny.model), str(text), config=LINES)["intervals"] == intervals


def test_tokenized_data_give_what_the_trainer_gives(tiny, tokens):
    result = evaluate(str(tiny.model), str(tokens))
    loaded = load_model(str(tiny.model))
    evaluator = Evaluator(loaded.model, loaded.tokenizer.token_bytes(), compiled=False)
    batches = windows_in_order(TokenStream(tokens, "validation"), 3, 48)
    expected = evaluator(batches, lambda: None)
    assert result["tokens"] == expected.tokens
    assert result["val_loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert result["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert (result["split"], result["retokenized"]) == ("validation", False)
    other = evaluate(str(tiny.model), str(tokens), config=EvaluateConfig(split="train"))
    assert other["val_loss"] != result["val_loss"]


def test_tokens_of_another_tokenizer_are_encoded_anew(tiny, tokens, tmp_path):
    tokenizer = make_tokenizer(tmp_path / "bytes", kind="bytes", vocabulary=270)
    model = make_model(tmp_path / "model", tokenizer)
    result = evaluate(str(model), str(tokens))
    assert result["retokenized"]
    assert result["tokenizer"] == tokenizer.fingerprint
    # The documents as text give the same.
    own = load_model(str(tiny.model)).tokenizer
    stream = TokenStream(tokens, "validation")
    ids = stream.read(0, len(stream)).tolist()
    documents, start = [], 0
    for at, token in enumerate(ids):
        if token == own.eos_id:
            documents.append(own.decode(ids[start:at]))
            start = at + 1
    (tmp_path / "text.txt").write_text("\n".join(documents))
    expected = evaluate(str(model), str(tmp_path / "text.txt"), config=LINES)
    assert result["bits_per_byte"] == pytest.approx(expected["bits_per_byte"], rel=1e-12)
    # All bytes of the text but those of the first token.
    size = len("".join(documents).encode())
    first = tokenizer.token_bytes()[tokenizer.encode(documents[0])[0]]
    assert result["bytes"] == size - first


def test_bits_per_byte_of_a_model_that_knows_nothing(tmp_path, text):
    """Uniform over V tokens: ln V nats for each token that stands for text."""
    for kind, vocabulary in (("sentencepiece", 320), ("bytes", 280)):
        tokenizer = make_tokenizer(tmp_path / kind, kind, vocabulary)
        model = make_model(tmp_path / f"{kind}-model", tokenizer, scale=0.0)
        result = evaluate(str(model), str(text), config=LINES)
        rate = math.log2(tokenizer.vocabulary) * (result["tokens"] - result["documents"])
        assert result["val_loss"] == pytest.approx(math.log(tokenizer.vocabulary), rel=1e-6)
        assert result["bits_per_byte"] == pytest.approx(rate / result["bytes"], rel=1e-6)


def test_a_smaller_stride_and_fewer_tokens(tiny, text):
    whole = evaluate(str(tiny.model), str(text), config=LINES)
    close = EvaluateConfig(document="line", stride=8)
    assert evaluate(str(tiny.model), str(text), config=close)["tokens"] == whole["tokens"]
    short = EvaluateConfig(document="line", max_tokens=50)
    result = evaluate(str(tiny.model), str(text), config=short)
    assert result["tokens"] == 96  # two windows
    assert result["intervals"]["unit"] == "windows"


def test_memory_decides_the_rows_and_nothing_else(tiny, text, monkeypatch):
    whole = evaluate(str(tiny.model), str(text), config=LINES)
    monkeypatch.setattr(perplexity, "LOGITS", 1)
    one = evaluate(str(tiny.model), str(text), config=LINES)
    assert one["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"context": 49}, "more than the 48"),
        ({"context": 16, "stride": 17}, "leave tokens out"),
    ],
)
def test_lengths_that_do_not_fit(tiny, text, settings, says):
    with pytest.raises(ConfigError, match=says):
        evaluate(str(tiny.model), str(text), config=EvaluateConfig(**settings))


def test_data_that_are_refused(tiny, tokens, tmp_path):
    with pytest.raises(ConfigError, match="unknown task"):
        evaluate(str(tiny.model), str(tokens), "mood")
    with pytest.raises(SourceError, match="nothing"):
        evaluate(str(tiny.model), str(tmp_path / "nothing"))
    (tmp_path / "blank.txt").write_text(" \n \n")
    with pytest.raises(SourceError, match="holds no text"):
        evaluate(str(tiny.model), str(tmp_path / "blank.txt"), config=LINES)
    damaged = shutil.copytree(tokens, tmp_path / "damaged")
    shard = next(damaged.glob("validation-*.bin"))
    shard.write_bytes(shard.read_bytes()[::-1])
    with pytest.raises(ResultError, match="changed after"):
        evaluate(str(tiny.model), str(damaged))


def test_a_model_that_predicts_nan(tiny, text, tmp_path):
    model = shutil.copytree(tiny.model, tmp_path / "model")
    weights = mx.load(str(model / "model.safetensors"))
    weights["model.norm.weight"] = mx.full(weights["model.norm.weight"].shape, float("nan"))
    mx.save_safetensors(str(model / "model.safetensors"), weights)
    with pytest.raises(CheckpointError, match="not numbers"):
        evaluate(str(model), str(text), config=LINES)


@pytest.mark.slow
def test_the_loss_is_that_of_transformers(tiny):
    torch = pytest.importorskip("torch")
    model = transformers().AutoModelForCausalLM.from_pretrained(tiny.model, dtype=torch.float32)
    loaded = load_model(str(tiny.model))
    ids = loaded.tokenizer.encode(" ".join(TEXTS))[:49]
    with torch.no_grad():
        expected = model(torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
    found = token_nats(loaded, np.array(ids), list(windows(len(ids), 48, 48, tail=False)))
    assert found.mean() == pytest.approx(expected, abs=1e-5)


def test_the_result_is_json(tiny, text):
    json.dumps(evaluate(str(tiny.model), str(text), config=LINES), allow_nan=False)
