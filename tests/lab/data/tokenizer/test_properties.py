"""What holds for every text and every list of ids."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizer_texts import HARD, POEMS, TEXT

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import train_tokenizer

# No halves of surrogate pairs: UTF-8 does not have them.
ANY = st.text(st.characters(exclude_categories=["Cs"]))
PARTS = st.lists(ANY | st.sampled_from(HARD) | st.text(" \n\t\u2581ab")).map("".join)


@pytest.fixture(scope="module", params=["sentencepiece", "bytes"])
def tokenizer(request, tmp_path_factory):
    config = TokenizerConfig(kind=request.param)
    return train_tokenizer(config, 600, [TEXT, POEMS], tmp_path_factory.mktemp(request.param))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=PARTS)
def test_text_comes_back_and_its_bytes_are_counted(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())
    assert not tokenizer.special_ids.intersection(ids)
    assert tokenizer.exact_round_trip


@settings(max_examples=50, deadline=None)
@given(text=PARTS)
def test_words_give_the_ids_of_the_whole_text(tokenizer, text):
    assert tokenizer._words is not None
    whole = tokenizer._backend.encode(text, add_special_tokens=False).ids
    assert tokenizer.encode(text) == whole


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 650) | st.integers(-(2**70), 2**70)))
def test_any_ids_can_be_decoded(tokenizer, ids):
    plain, shown = tokenizer.decode(ids), tokenizer.decode(ids, special=True)
    assert isinstance(plain, str)
    assert ("<|pad|>" in shown) >= (tokenizer.pad_id in ids)


def test_half_a_surrogate_pair_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="half a surrogate pair at character 2"):
        tokenizer.encode_batch(["fine", "ab\ud800c"])
