"""The ids of ours, sentencepiece, transformers and mlx-lm on the same strings."""

import pytest
from tokenizer_texts import HARD, POEMS, TEXT, random_strings

from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import load_tokenizer, train_tokenizer

MESSAGES = [
    {"role": "system", "content": " Be brief.\n"},
    {"role": "user", "content": "1 + 1 = ? <|im_end|>"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "\u2581 日本語"},
]


@pytest.fixture(scope="module", params=["sentencepiece", "bytes"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = TokenizerConfig(kind=request.param, special_tokens=("<|tool|>",))
    train_tokenizer(config, 900, [TEXT, POEMS], folder)
    return folder


@pytest.fixture(scope="module")
def theirs(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def strings():
    return HARD + random_strings(10_000, seed=1)


@pytest.mark.slow
def test_transformers_gives_the_same_ids(folder, theirs, strings):
    ours = load_tokenizer(folder)
    plain = {"add_special_tokens": False, "split_special_tokens": True}
    assert ours.encode_batch(strings) == theirs(strings, **plain)["input_ids"]
    assert len(theirs) == ours.vocabulary == 900
    assert (theirs.bos_token_id, theirs.eos_token_id) == (ours.bos_id, ours.eos_id)
    assert theirs.pad_token_id == ours.pad_id
    assert set(theirs.all_special_ids) == ours.special_ids


@pytest.mark.slow
def test_mlx_lm_gives_the_same_ids(folder, strings):
    from mlx_lm.tokenizer_utils import load

    ours, theirs = load_tokenizer(folder), load(folder)
    plain = {"add_special_tokens": False, "split_special_tokens": True}
    assert [theirs.encode(text, **plain) for text in strings] == ours.encode_batch(strings)
    assert theirs.eos_token_ids == {ours.eos_id}


@pytest.mark.slow
def test_sentencepiece_gives_the_same_ids(folder, strings):
    from sentencepiece import SentencePieceProcessor

    if not (folder / "tokenizer.model").exists():
        assert "bytes" in folder.name
        return
    # It takes U+2581 for a space.
    texts = [text for text in strings if "\u2581" not in text]
    theirs = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert load_tokenizer(folder).encode_batch(texts) == theirs.encode(texts)


@pytest.mark.slow
def test_overlapping_pairs_merge_as_in_sentencepiece(tmp_path):
    from sentencepiece import SentencePieceProcessor

    # Text with two or three letters has many pieces that begin as they end.
    texts = ["".join(text) for text in map(_few_letters, range(400))]
    ours = train_tokenizer(TokenizerConfig(), 500, texts, tmp_path)
    theirs = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    others = ["".join(text) for text in map(_few_letters, range(1000, 6000))]
    assert ours.encode_batch(others) == theirs.encode(others)


def _few_letters(seed):
    import random

    draw = random.Random(seed)
    return draw.choices("abc"[: draw.choice((2, 3))], k=draw.randrange(1, 40))


@pytest.mark.parametrize("count", range(1, 5))
@pytest.mark.parametrize("prompt", [False, True])
def test_chat_is_that_of_transformers(folder, theirs, count, prompt):
    ours, messages = load_tokenizer(folder), MESSAGES[:count]
    text = ours.chat(messages, add_generation_prompt=prompt)
    call = {"conversation": messages, "add_generation_prompt": prompt}
    assert text == theirs.apply_chat_template(**call, tokenize=False)
    assert ours.encode_special(text) == theirs.apply_chat_template(**call)["input_ids"]
    assert text.startswith("<|im_start|>system\n Be brief.\n<|im_end|>\n")
    assert text.endswith("<|im_start|>assistant\n") == prompt
