"""`mlx-probe generate`: prompts, streaming, JSON, refusals."""

import io
import json
from importlib import import_module

import pytest
from models import invoke, refuses
from tiny_llm import make_model, make_tokenizer

from mlx_probe.lab.generate import generate as module

# The package's attribute of that name may be the command itself.
COMMAND = import_module("mlx_probe.cli.generate")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("generate")
    return make_model(root / "model", make_tokenizer(root / "tokenizer"))


def document(*arguments, code=0, **given):
    result = invoke("generate", *arguments, "--json", "--device", "cpu", **given)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_the_text_on_standard_output_is_that_of_the_document(model):
    options = ("--prompt", "To be", "--max-tokens", "12", "--seed", "3", "--top-k", "20")
    whole = document(model, *options)
    for how in ("--stream", "--no-stream"):
        result = invoke("generate", model, *options, how)
        assert result.stdout == whole["text"] + "\n"
        assert f"{len(whole['tokens'])} tokens, " in result.stderr
    assert invoke("generate", model, *options, "--quiet").stderr == ""
    assert 1 < len(whole["tokens"]) <= 12
    settings = whole["settings"]
    assert (settings["seed"], settings["top_k"], settings["temperature"]) == (3, 20, 0.8)
    assert document(model, *options)["tokens"] == whole["tokens"]
    assert document(model, *options, "--seed", "4")["tokens"] != whole["tokens"]


def test_each_setting_has_an_effect(model):
    plain = document(model, "--prompt", "To be", "--max-tokens", "16")
    for change in (
        ("--temperature", "3"),
        ("--top-k", "2"),
        ("--top-p", "0.2"),
        ("--min-p", "0.7"),
        ("--stop", plain["text"][2:4]),
    ):
        other = document(model, "--prompt", "To be", "--max-tokens", "16", *change)
        assert other["text"] != plain["text"], change
    # The most likely text goes round in circles.
    greedy = ("--prompt", "To be", "--temperature", "0", "--max-tokens", "30")
    tokens = document(model, *greedy)["tokens"]
    other = document(model, *greedy, "--repetition-penalty", "5")["tokens"]
    assert len(set(other)) / len(other) > len(set(tokens)) / len(tokens)


def test_prompts_from_a_file_and_from_standard_input(model, tmp_path, monkeypatch):
    expected = document(model, "--prompt", "To be", "--max-tokens", "5")
    path = tmp_path / "prompt.txt"
    path.write_text("To be")
    assert document(model, "--prompt", f"@{path}", "--max-tokens", "5")["text"] == expected["text"]
    monkeypatch.setattr(COMMAND.sys, "stdin", io.TextIOWrapper(io.BytesIO(b"To be")))
    assert COMMAND._read_prompt("-") == "To be"
    refuses(invoke("generate", model, "--prompt", f"@{tmp_path}/no"), "cannot read", code=2)
    path.write_bytes(b"\xff\xfe")
    refuses(invoke("generate", model, "--prompt", f"@{path}"), "not UTF-8", code=2)


def test_what_is_refused(model, tmp_path):
    refuses(invoke("generate", tmp_path, "--prompt", "x"), "no weights")
    refuses(invoke("generate", model, "--prompt", "x", "--top-p", "0"), "top_p", code=2)
    refuses(invoke("generate", model, "--prompt", "to be " * 60), "more than the 48", code=2)
    result = invoke("generate", model, "--prompt", "x", "--system", "y")
    assert result.exit_code == 2
    assert "--system needs --chat" in result.stderr


def test_ctrl_c_keeps_what_is_there(model, monkeypatch):
    steps = module.generate_tokens

    def interrupted(*arguments):
        for number, token in enumerate(steps(*arguments)):
            if number == 4:
                raise KeyboardInterrupt
            yield token

    monkeypatch.setattr(module, "generate_tokens", interrupted)
    result = invoke("generate", model, "--prompt", "To be")
    assert result.exit_code == 130
    assert len(result.stdout) > 1
    assert "interrupted after 4 tokens" in result.stderr
    whole = document(model, "--prompt", "To be", code=130)
    assert (whole["finish_reason"], len(whole["tokens"])) == ("interrupted", 4)


def test_a_terminal_gets_no_control_characters(monkeypatch, capsys):
    COMMAND._write("a\x1b[31m\n")
    assert capsys.readouterr().out == "a\x1b[31m\n"
    monkeypatch.setattr(COMMAND.sys.stdout, "isatty", lambda: True, raising=False)
    COMMAND._write("a\x1b[31m\n\tb")
    assert capsys.readouterr().out == "a\\x1b[31m\n\tb"
