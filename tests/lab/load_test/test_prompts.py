"""What is asked: files, random words, and the requests made of both."""

import json

import pytest
from tiny_llm import make_tokenizer

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.load_test.address import parse_address
from mlx_probe.lab.load_test.config import LoadTestConfig
from mlx_probe.lab.load_test.prompts import Prompt, make_prompts
from mlx_probe.lab.load_test.tokens import count_input, count_output

USER = {"role": "user", "content": "hello"}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("load") / "tokenizer", kind="bytes")


def test_random_prompts_are_as_long_as_asked(tokenizer):
    config = LoadTestConfig(num_prompts=20, random_input_len=37, seed=5)
    prompts = make_prompts(config, tokenizer)
    assert {len(tokenizer.encode(prompt.text)) for prompt in prompts} == {37}
    assert len({prompt.text for prompt in prompts}) == 20
    assert make_prompts(config, tokenizer) == prompts
    words = make_prompts(config, None)
    assert {len(prompt.text.split()) for prompt in words} == {37}


def test_prompts_of_a_file(tmp_path):
    path = tmp_path / "p.jsonl"
    tools = [{"type": "function", "function": {"name": "f"}}]
    lines = [
        {"prompt": "one"},
        {"messages": [USER], "tools": tools, "max_tokens": 3, "source": "x"},
        {"messages": [USER, {"role": "assistant", "content": "hi"}]},
    ]
    path.write_text("\n\n".join(map(json.dumps, lines)))
    config = LoadTestConfig(num_prompts=7, dataset_path=path, output_len=9)
    prompts = make_prompts(config, None)
    assert len(prompts) == 7
    assert prompts[:3] == prompts[3:6]
    by_length = sorted(prompts[:3], key=lambda prompt: (prompt.output_len, prompt.text))
    assert by_length[0] == Prompt("", (USER,), 3, {"tools": tools})
    # What the model is to say is not asked.
    assert by_length[1] == Prompt("", (USER,), 9, {})
    assert by_length[2] == Prompt("one", None, 9, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no prompt"),
        ("{", ":1 is no JSON"),
        ("[1]", ":1 is no JSON object"),
        ('{"prompt": "x"}\n{"text": "x"}', ":2 has no prompt"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "has no prompt"),
        ('{"prompt": "x", "max_tokens": 0}', "length of the output is 0"),
    ],
)
def test_a_file_that_is_none(text, message, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        make_prompts(LoadTestConfig(dataset_path=path), None)
    with pytest.raises(ConfigError, match="cannot read"):
        make_prompts(LoadTestConfig(dataset_path=tmp_path / "nothing"), None)


def test_messages_need_chat_completions(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"messages": [USER]}))
    with pytest.raises(ConfigError, match="has messages"):
        make_prompts(LoadTestConfig(dataset_path=path, backend="openai"), None)


def test_requests():
    config = LoadTestConfig(temperature=0.0, ignore_eos=True, extra_body={"top_k": 5})
    body = Prompt("hello", None, 4, {}).body("openai-chat", "m", config)
    assert body == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 4,
        "temperature": 0.0,
        "ignore_eos": True,
        "messages": [USER],
        "top_k": 5,
    }
    body = Prompt("hello", None, 4, {}).body("openai", "m", LoadTestConfig())
    assert body["prompt"] == "hello"
    assert "messages" not in body


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("https://h/api/v1", "https://h/api/v1/chat/completions"),
        ("https://h:444/api/v1/chat/completions", "https://h:444/api/v1/chat/completions"),
        ("http://[::1]:80", "http://[::1]/v1/chat/completions"),
    ],
)
def test_addresses(text, url):
    address = parse_address(text)
    assert address.url == url
    assert address.at("/v1/models") == ("/api" if "/api" in text else "") + "/v1/models"


@pytest.mark.parametrize("text", ["ftp://h", "http://", "http://h:x", "http://[::1", ""])
def test_no_addresses(text):
    with pytest.raises(ConfigError, match="address"):
        parse_address(text)


def test_the_tokenizer_counts_what_the_server_does_not(tokenizer):
    assert count_output({"completion_tokens": 5}, ("abc",), tokenizer).tokens == 5
    both = len(tokenizer.encode("to be")) + len(tokenizer.encode("be"))
    assert count_output(None, ("to be", "be"), tokenizer).tokens == both
    assert count_output(None, ("to be",), None).tokens is None
    assert count_output({"completion_tokens": None}, ("to be",), None).source == "unknown"
    assert count_input(None, Prompt("to be", None, 1, {}), tokenizer).source == "tokenizer"
    chat = count_input(None, Prompt("", (USER,), 1, {}), tokenizer)
    assert chat.source == ("tokenizer" if tokenizer.chat_template else "unknown")
