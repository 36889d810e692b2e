"""Kinds of tokens, by examples and on the project's own tokenizers."""

import numpy as np
import pytest
from tiny_llm import TEXTS, make_tokenizer

from mlx_probe.lab.moe.routing.token_types import TOKEN_TYPES, token_texts, token_types


def named(texts, special=None):
    return [TOKEN_TYPES[kind] for kind in token_types(texts, special)]


@pytest.mark.parametrize(
    ("texts", "kinds"),
    [
        (["To", " be", ","], ["word start", "word start", "punctuation"]),
        ([" ques", "tion", "."], ["word start", "word continuation", "punctuation"]),
        (["The", "\n", "end"], ["word start", "whitespace", "word start"]),
        ([" 19", "84", "th"], ["number", "number", "word start"]),
        (["don", "'", "t"], ["word start", "punctuation", "word start"]),
        (["don", "'t"], ["word start", "word continuation"]),
        (["\u5929", "\u6c14"], ["word start", "word continuation"]),
        (["caf", "e\u0301"], ["word start", "word continuation"]),
        (["\u2166", " + ", "$"], ["number", "punctuation", "punctuation"]),
        (["\ufffd", "\ufffd", ""], ["other"] * 3),
        ([" ", "  \t"], ["whitespace", "whitespace"]),
        (["a1", ".5"], ["word start", "other"]),
    ],
)
def test_kinds(texts, kinds):
    assert named(texts) == kinds


def test_special_tokens_end_words():
    assert named(["in", "</s>", "side"], [False, True, False]) == [
        "word start", "special", "word start"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes"])
def test_texts_of_tokens_are_the_text(kind, tmp_path):
    tokenizer = make_tokenizer(tmp_path, kind)
    ids = tokenizer.encode(TEXTS[0])
    texts = token_texts(tokenizer, ids)
    assert "".join(texts).strip() == TEXTS[0]
    # Every word begins with a token of its kind, and no other token is one.
    words = [word for word in TEXTS[0].replace("'", " ").split() if word[0].isalpha()]
    assert named(texts).count("word start") == len(words)
    assert np.array_equal(token_types(texts), token_types(texts, [False] * len(texts)))
    end = token_texts(tokenizer, [tokenizer.eos_id])
    assert end != [""]
