"""llama.cpp runs what we export: its ids, log probabilities and greedy answers are the model's."""

import json
import random

import mlx.core as mx
import numpy as np
import pytest
from exported import export, write_qwen3
from lab import mlx_lm
from tiny_llm import TEXTS, make_model
from tokenizer_texts import HARD, POEMS, TEXT, random_strings

from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import load_tokenizer, train_tokenizer
from mlx_probe.lab.export.gguf.vocabulary.byte_level import PRE_TOKENIZERS
from referees.export.llama_cpp import running

pytestmark = pytest.mark.slow
SPACE = "\u2581"
SAMPLE = (TEXT, POEMS, *TEXTS, "don't I'LL we've 1234 56")


def trained(kind, **settings):
    def make(folder):
        return train_tokenizer(TokenizerConfig(kind=kind, **settings), 700, SAMPLE, folder)

    return make


def published(name):
    """A byte-level tokenizer with the cut of a published one."""

    def make(folder):
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

        known = PRE_TOKENIZERS[name]
        (_, regex), _ = known.cuts
        backend = Tokenizer(models.BPE(ignore_merges=known.ignores_merges))
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(regex), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=700,
            show_progress=False,
            special_tokens=["<|endoftext|>", "<|im_start|>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        backend.train_from_iterator(SAMPLE, trainer)
        backend.add_tokens(["<think>"])
        folder.mkdir(parents=True)
        backend.save(str(folder / "tokenizer.json"))
        described = {"eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"}
        (folder / "tokenizer_config.json").write_text(json.dumps(described))
        return load_tokenizer(folder)

    return make


TOKENIZERS = {
    "pieces": trained("sentencepiece"),
    "pieces, numbers whole": trained("sentencepiece", split_digits=False),
    "bytes": trained("bytes"),
    "bytes, numbers whole": trained("bytes", split_digits=False),
    "bytes of Qwen2": published("qwen2"),
    "bytes of Llama 3": published("llama-bpe"),
}
WHITE = (" ", "  ", "\n", "\n\n", "\t", "\r\n", "\xa0", "\u3000", "\x0b", "\x85", "\u2028", "\x00")


def strings(count):
    """Words with white space of all kinds between, and what is hard to encode."""
    draw = random.Random(7)
    words = " ".join(SAMPLE).split()
    mixed = [
        "".join(draw.choice(words) + draw.choice(WHITE) for _ in range(draw.randrange(1, 12)))
        for _ in range(count - len(HARD) - count // 2)
    ]
    return [*HARD, *random_strings(count // 2, seed=11), *mixed]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids(tmp_path, name):
    tokenizer = TOKENIZERS[name](tmp_path / "tokenizer")
    export(make_model(tmp_path / "model", tokenizer), tmp_path / "m.gguf")
    texts = strings(200)
    assert len(texts) == 200
    with running(tmp_path / "m.gguf") as llama:
        for text in texts:
            # llama.cpp writes a space so, and cannot tell the two: the export says it.
            text = text.replace(SPACE, "") if "pieces" in name else text
            assert llama.tokens(text) == tokenizer.encode(text), text
            assert llama.tokens(text, special=True) == tokenizer.encode_special(text), text
            assert llama.tokens(text, ends=True) == tokenizer.encode(text), text
        text = "To be, or not\n  床前明月光"
        assert llama.text(tokenizer.encode(text)) == text
        if tokenizer.chat_template:
            messages = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Or?"}]
            assert llama.chat(messages) == tokenizer.chat(messages)


def tiny(qk_norm):
    def make(folder, tokenizer, dtype):
        sizes = {"dim": 64, "hidden": 96, "layers": 3, "context": 64, "tied_embeddings": qk_norm}
        return make_model(folder, tokenizer, 3, 4.0, dtype, qk_norm=qk_norm, **sizes)

    return make


# By name: the model, its tokenizer, the type of its weights and of the file. llama.cpp rounds
# inputs of products to the type of the matrix: float16 and bfloat16 allow larger differences.
CASES = {
    "llama, pieces, f32": (tiny(False), "pieces", "float32", "f32", 1e-4),
    "llama, bytes, f32": (tiny(False), "bytes", "float32", "f32", 1e-4),
    "qwen3, pieces, f32": (tiny(True), "pieces", "float32", "f32", 1e-4),
    "qwen3, bytes, f32": (tiny(True), "bytes", "float32", "f32", 1e-4),
    "qwen3, wide heads, f32": (
        lambda folder, tokenizer, dtype: write_qwen3(folder, tokenizer),
        "bytes of Qwen2",
        "float32",
        "f32",
        1e-4,
    ),
    "llama, bytes, bf16": (tiny(False), "bytes", "bfloat16", "bf16", 0.05),
    "qwen3, bytes, f16": (tiny(True), "bytes", "float16", "f16", 0.01),
}
PROMPTS, LENGTH = 20, 8


@pytest.mark.parametrize("case", CASES)
def test_answers(tmp_path, case):
    make, tokens, dtype, kind, most = CASES[case]
    tokenizer = TOKENIZERS[tokens](tmp_path / "tokenizer")
    folder = make(tmp_path / "model", tokenizer, dtype)
    export(folder, tmp_path / "m.gguf", kind)
    draw = random.Random(3)
    words = " ".join(TEXTS).split()
    prompts = [" ".join(draw.sample(words, draw.randrange(1, 5))) for _ in range(PROMPTS)]
    model, _ = mlx_lm("utils").load_model(folder, lazy=True)
    model.apply(lambda array: array.astype(mx.float32))
    [letter] = tokenizer.encode("e")
    seen, steps, worst = set(), 0, 0.0
    with running(tmp_path / "m.gguf") as llama, mx.stream(mx.cpu):
        for prompt in prompts:
            ids = llama.tokens(prompt)
            assert ids == tokenizer.encode(prompt)
            answer = llama.continued(ids, LENGTH)
            theirs = llama.log_probabilities(ids, tokenizer.vocabulary, letter)
            ours = log_probabilities(model, ids)
            worst = max(worst, *(abs(ours[i] - value) for i, value in theirs.items()))
            for number in answer if kind == "f32" else ():
                assert number == int(log_probabilities(model, ids).argmax())
                ids = [*ids, number]
            if len(answer) < LENGTH and kind == "f32":
                assert int(log_probabilities(model, ids).argmax()) in tokenizer.stop_ids
            steps += len(answer)
            seen.update(answer)
    # Enough answers, which are not all the same token.
    assert steps > PROMPTS * LENGTH // 2
    assert len(seen) > 20
    assert worst < most


def log_probabilities(model, ids):
    """Of every token after these, in float64."""
    logits = np.array(model(mx.array([ids]))[0, -1], np.float64)
    logits -= logits.max()
    return logits - np.log(np.exp(logits).sum())


def test_the_comparison_can_fail(tmp_path, monkeypatch):
    """Rows in Hugging Face's order are another model to llama.cpp."""
    tokenizer = TOKENIZERS["bytes"](tmp_path / "tokenizer")
    folder = tiny(False)(tmp_path / "model", tokenizer, "float32")
    ids = tokenizer.encode("to be, or not to be")
    steps = []
    for path in (tmp_path / "m.gguf", tmp_path / "wrong.gguf"):
        export(folder, path)
        with running(path) as llama:
            steps.append(llama.log_probabilities(ids, 700, 100))
        monkeypatch.setattr(
            "mlx_probe.lab.export.gguf.write.interleave", lambda matrix, heads: matrix
        )
    right, wrong = steps
    assert max(abs(right[i] - wrong[i]) for i in right) > 0.05
