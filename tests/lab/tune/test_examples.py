"""What is left out is counted and named; nothing is dropped in silence."""

import pytest
from tuning import conversation, write_data

from mlx_probe.core.errors import ConfigError, SourceError
from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.tune.examples import read_examples


@pytest.fixture
def tokenizer(talker):
    return load_tokenizer(talker)


def long(number):
    entry = conversation(number)
    entry["messages"][1]["content"] = "to be " * 200
    return entry


BROKEN = [
    ("{", "no conversation"),
    ("[]", "no conversation"),
    ('{"messages": []}', "no conversation"),
    ('{"messages": [{"content": "x"}]}', "no conversation"),
    ('{"messages": [{"role": "user", "content": "x"}], "tools": 3}', "no conversation"),
    ({"messages": [{"role": "user", "content": "x"}]}, "no answer to learn"),
    (long(8), "too long"),
]


def test_each_line_that_is_left_out_has_its_reason(tokenizer, tmp_path):
    folder = write_data(tmp_path, [line for line, _ in BROKEN] + [conversation(1)])
    examples = read_examples(folder, tokenizer, 200, cut=False)
    assert [(each.line, each.reason) for each in examples.skipped] == [
        (number, reason) for number, (_, reason) in enumerate(BROKEN, 1)
    ]
    assert [example.id for example in examples.train] == ["c1"]
    counts = examples.summary()
    assert sum(entry["count"] for entry in counts["skipped"]) == len(BROKEN)
    assert counts["splits"]["train"]["answer_tokens"] == examples.train[0].answer_tokens > 3


def test_what_is_too_long_can_be_cut(tokenizer, tmp_path):
    entry = conversation(3)
    entry["messages"][-1]["content"] = "to be " * 200
    folder = write_data(tmp_path, [entry, long(8)])
    examples = read_examples(folder, tokenizer, 100, cut=True)
    assert [len(example.tokens) for example in examples.train] == [100]
    # Of the other nothing is left to learn.
    reasons = [each.reason for each in examples.skipped]
    assert reasons == ["cut", "cut", "no answer to learn"]


def test_prompt_and_completion(tokenizer, tmp_path):
    entry = {"prompt": "be?", "completion": "not"}
    examples = read_examples(write_data(tmp_path, [entry]), tokenizer, 200, cut=False)
    assert [example.id for example in examples.train] == ["line 1"]


def test_the_same_conversations_have_the_same_fingerprint(tokenizer, tmp_path):
    first, second, other = (
        read_examples(write_data(tmp_path / name, train), tokenizer, 200, cut=False)
        for name, train in (("a", None), ("b", None), ("c", [conversation(1)]))
    )
    assert first.fingerprint() == second.fingerprint() != other.fingerprint()


def test_refusals(tokenizer, tmp_path):
    with pytest.raises(SourceError, match=r"train\.jsonl does not exist"):
        read_examples(tmp_path, tokenizer, 200, cut=False)
    folder = write_data(tmp_path, [long(1)])
    with pytest.raises(ConfigError, match=r"leaves no example: too long \(1\)"):
        read_examples(folder, tokenizer, 200, cut=False)
