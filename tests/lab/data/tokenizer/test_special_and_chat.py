"""Special tokens of the user's, and chat templates from files."""

import pytest
from tokenizer_texts import TEXT

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.config import TokenizerConfig
from mlx_probe.lab.data.tokenizer import load_tokenizer, train_tokenizer

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes"])
def test_special_tokens_come_first_and_are_only_read_where_they_are_meant(kind, tmp_path):
    config = TokenizerConfig(kind=kind, special_tokens=("<|tool|>", "[INST]"))
    tokenizer = train_tokenizer(config, 400, [TEXT, "[INST] " * 1000], tmp_path)
    assert tokenizer.special_ids == set(range(7 if kind == "sentencepiece" else 6))
    assert tokenizer.bos_id == tokenizer.eos_id
    (number,) = tokenizer.encode_special("[INST]")
    assert number in tokenizer.special_ids
    assert not tokenizer.special_ids.intersection(tokenizer.encode("[INST]"))
    assert tokenizer.decode([number]) == ""
    assert tokenizer.decode([number], special=True) == "[INST]"
    counts = tokenizer.token_bytes()
    assert all(counts[number] == 0 for number in tokenizer.special_ids)
    assert (counts > 0).sum() == 400 - len(tokenizer.special_ids)


@pytest.mark.parametrize(
    "token", ["", "the", "x", " <a>", "<a> ", "<a b>", "<>", "<|1|>", "<0x41>", "\u2581", "<é>"]
)
def test_a_text_that_is_no_special_token_is_refused(token, tmp_path):
    with pytest.raises(ConfigError, match="is no special token"):
        train_tokenizer(TokenizerConfig(special_tokens=(token,)), 400, [TEXT], tmp_path)


@pytest.mark.parametrize("token", ["<|im_start|>", "<unk>", "<|endoftext|>"])
def test_a_special_token_that_is_there_is_refused(token, tmp_path):
    with pytest.raises(ConfigError, match="is there already"):
        train_tokenizer(TokenizerConfig(special_tokens=(token,)), 400, [TEXT], tmp_path)


def test_generation_ends_at_documents_and_messages(tmp_path):
    plain = train_tokenizer(TokenizerConfig(chat_template="none"), 400, [TEXT], tmp_path / "a")
    assert plain.stop_ids == (plain.eos_id,)
    chat = train_tokenizer(TokenizerConfig(), 400, [TEXT], tmp_path / "b")
    assert chat.stop_ids == (chat.eos_id, *chat.encode_special("<|im_end|>"))


def test_without_a_template_there_is_no_chat(tmp_path):
    tokenizer = train_tokenizer(TokenizerConfig(chat_template="none"), 400, [TEXT], tmp_path)
    assert not (tmp_path / "chat_template.jinja").exists()
    with pytest.raises(ConfigError, match="no chat template"):
        tokenizer.chat(MESSAGES)


def test_a_template_from_a_file(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text(
        "{{ bos_token }}{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% if loop.first %}{% continue %}{% endif %}{% endfor %}",
        "utf-8",
    )
    config = TokenizerConfig(chat_template=str(path))
    train_tokenizer(config, 400, [TEXT], tmp_path / "t")
    assert load_tokenizer(tmp_path / "t").chat(MESSAGES) == "<|endoftext|>Hello"


def test_a_template_that_is_none_is_refused(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{% for m in messages %}\n{{ m.content }", "utf-8")
    with pytest.raises(ConfigError, match=r"mine.jinja: line \d is no Jinja"):
        train_tokenizer(TokenizerConfig(chat_template=str(path)), 400, [TEXT], tmp_path / "t")
    with pytest.raises(ConfigError, match="cannot read chatlm"):
        train_tokenizer(TokenizerConfig(chat_template="chatlm"), 400, [TEXT], tmp_path / "t")


def test_messages_that_the_template_refuses_are_told(tmp_path):
    tokenizer = train_tokenizer(TokenizerConfig(), 400, [TEXT], tmp_path)
    with pytest.raises(ConfigError, match="does not take these messages"):
        tokenizer.chat([{"role": "user"}])
