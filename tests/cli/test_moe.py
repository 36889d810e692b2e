"""`mlx-probe moe`: text, refusals."""

import json

import pytest
from models import invoke, refuses
from tiny_llm import TEXTS, make_model, make_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("moe")
    (root / "text.txt").write_text("\n\n".join(TEXTS * 2), "utf-8")
    return make_model(root / "model", make_tokenizer(root / "tokenizer"))


def test_a_text(model, tmp_path):
    data = ("--data", model.parent / "text.txt", "--tokens", 48, "--device", "cpu")
    result = invoke("moe", "graft", model, "--experts", 6, *data, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "numbers, mixtral" in result.stdout
    assert "2 layers of 6 experts, 8 hidden units each, 6 active" in result.stdout
    assert "tied embedding is written out" in result.stdout
    assert "over 48 tokens of" in result.stdout
    shown = [line.split() for line in result.stdout.splitlines()[-3:]]
    receipt = json.loads((tmp_path / "out" / "graft_receipt.json").read_text())
    losses = {each["active"]: each["loss"] for each in receipt["damage"]}
    assert shown == [[str(k), f"{losses[k]:.4f}"] for k in (6, 3, 1)]
    options = ("--no-run", "--out", tmp_path / "out")
    assert "not run" in invoke("moe", "graft", model, *options).stdout
    assert invoke("moe", "graft", model, *options, "-q").output == ""


def test_what_is_refused(model, tmp_path):
    out = ("--out", tmp_path / "out")
    refuses(invoke("moe", "graft", model, "--experts", 7, *out), "48 hidden units", code=2)
    refuses(invoke("moe", "graft", tmp_path / "none", *out), "none")
    refuses(invoke("moe", "graft", model, "--no-run", "--out", model), "which is read", code=2)
    short = tmp_path / "short.txt"
    short.write_text("Two words.")
    refuses(invoke("moe", "graft", model, "--data", short, *out), "too few for", code=2)


def test_signals(model, tmp_path):
    settings = ("--tokens", 80, "--window", 20, "--block", 8, "--device", "cpu")
    words = (model, "--data", model.parent / "text.txt", *settings)
    result = invoke("moe", "signals", *words, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "80 tokens of" in result.stdout
    assert "in 4 windows" in result.stdout
    assert "Predictive Integrity" in result.stdout
    # In four windows nothing is standardized.
    assert [line.split() for line in result.stdout.splitlines()][-1] == [
        *("integrity_z", "-", "-", "-")
    ]
    options = ("--overwrite", "--alpha", 2, "--out", tmp_path / "out", "-q")
    assert invoke("moe", "signals", *words, *options).output == ""
    refused = invoke("moe", "signals", model, "--block", 5, *words[1:3], "--out", tmp_path / "no")
    refuses(refused, "not two or more blocks of 5", code=2)
