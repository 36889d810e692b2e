import pytest
from tokenizer_texts import POEMS, STRINGS, TEXT

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import train_tokenizer

KINDS = ("sentencepiece", "bytes")


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = TokenizerConfig(kind=request.param, special_tokens=("<|tool|>",))
    return train_tokenizer(config, 700, [TEXT, POEMS], folder)


def test_the_vocabulary_has_the_size_that_was_asked_for(tokenizer):
    assert tokenizer.vocabulary == 700
    assert tokenizer.token_bytes().shape == (700,)


def test_every_text_comes_back_from_its_ids(tokenizer):
    encoded = tokenizer.encode_batch(STRINGS)
    assert [tokenizer.decode(ids) for ids in encoded] == STRINGS


def test_text_never_gives_special_tokens(tokenizer):
    for ids in tokenizer.encode_batch(STRINGS):
        assert not tokenizer.special_ids.intersection(ids)


def test_token_bytes_sum_to_the_length_of_the_text(tokenizer):
    counts = tokenizer.token_bytes()
    for text, ids in zip(STRINGS, tokenizer.encode_batch(STRINGS), strict=True):
        assert counts[ids].sum() == len(text.encode())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_files(kind, tmp_path):
    config = TokenizerConfig(kind=kind)
    for name in ("a", "b"):
        train_tokenizer(config, 500, [TEXT, POEMS], tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_larger_than_the_text_allows_names_the_largest(kind, tmp_path):
    config = TokenizerConfig(kind=kind)
    with pytest.raises(ConfigError, match="larger than the text allows") as error:
        train_tokenizer(config, 1000, ["abcab"], tmp_path)
    most = int(error.value.remedy.split("at most ")[1].split(",")[0])
    assert train_tokenizer(config, most, ["abcab"], tmp_path).vocabulary == most
    with pytest.raises(ConfigError, match="larger than the text allows"):
        train_tokenizer(config, 513, ["abcab"], tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_vocabulary_takes_what_a_uniform_text_gives(kind, tmp_path):
    text = "the same line again\n" * 6000
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind), 512, [text], tmp_path)
    assert 260 < tokenizer.vocabulary < 512
    assert tokenizer.decode(tokenizer.encode(text + " \U0001f469")) == text + " \U0001f469"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_text_is_refused(kind, texts, tmp_path):
    with pytest.raises(ConfigError, match="no text"):
        train_tokenizer(TokenizerConfig(kind=kind), 400, texts, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_without_room_for_bytes_is_refused(kind, tmp_path):
    with pytest.raises(ConfigError, match="no room for 256 bytes") as error:
        train_tokenizer(TokenizerConfig(kind=kind), 100, [TEXT], tmp_path)
    least = int(error.value.remedy.removeprefix("Choose at least "))
    assert train_tokenizer(TokenizerConfig(kind=kind), least, [TEXT], tmp_path)


def test_all_tokens_of_no_tokenizer_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="0 takes all tokens of an existing tokenizer"):
        train_tokenizer(TokenizerConfig(), 0, [TEXT], tmp_path)
