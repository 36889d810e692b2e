"""`mlx-probe export`: text, JSON, refusals."""

import json

import pytest
from models import invoke, refuses
from tiny_llm import make_model, make_tokenizer

from mlx_probe.runs.load import read_table


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    return make_model(root / "model", make_tokenizer(root / "tokenizer"))


def test_a_document_and_a_text(model, tmp_path):
    out = tmp_path / "new" / "m.gguf"
    result = invoke("export", model, "--to", "gguf", "--type", "bf16", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    whole = json.loads(result.stdout)
    assert whole["bytes"] == out.stat().st_size
    assert (whole["type"], whole["architecture"], whole["tensors"]) == ("bf16", "llama", 20)
    said = invoke("export", model, "--to", "gguf", "--out", out).stdout
    assert f"{whole['parameters']:,} numbers, f32" in said
    assert "tokenizer llama, default with 320 tokens" in said
    assert "U+2581" in said
    assert invoke("export", model, "--to", "gguf", "--out", out, "--quiet").output == ""


def test_the_engine_opens_it(model, tmp_path):
    out = tmp_path / "m.gguf"
    assert invoke("export", model, "--to", "gguf", "--out", out, "--quiet").exit_code == 0
    listed = json.loads(invoke("inspect", out, "--json").stdout)
    assert len(listed["tensors"]) == 20
    run = tmp_path / "run"
    assert invoke("compare", model, out, "--out", run, "--quiet").exit_code == 0
    changes = read_table(run)[0].column("relative_change").to_pylist()
    assert changes == [0.0] * 20


def test_what_is_refused(model, tmp_path):
    refuses(invoke("export", tmp_path / "none", "--to", "gguf", "--out", tmp_path / "m"), "none")
    refuses(invoke("export", model, "--to", "gguf", "--out", tmp_path), "is a folder")
    result = invoke("export", model, "--to", "onnx", "--out", tmp_path / "m")
    assert result.exit_code == 2
    assert "'onnx' is not one of 'gguf', 'mlx', 'peft'" in result.stderr


def test_options_that_contradict_each_other(model, tmp_path):
    out = ("--out", tmp_path / "x")
    for words, says in [
        (("gguf", "--bits", "4"), "--bits with --to gguf"),
        (("mlx", "--bits", "4", "--type", "f16"), "--bits with --to mlx --type f16"),
        (("peft", "--type", "q8_0"), "--to peft writes no q8_0"),
    ]:
        refuses(invoke("export", model, "--to", *words, *out), says, code=2)
    result = invoke("export", model, "--to", "gguf", "--type", "q4_k_m", *out)
    assert result.exit_code == 2
    assert "'q4_k_m' is not one of 'auto', 'f32'" in result.stderr


def test_a_packed_folder(tmp_path):
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    model = make_model(tmp_path / "model", tokenizer, dim=64, hidden=96)
    result = invoke("export", model, "--to", "mlx", "--bits", "8", "--out", tmp_path / "packed")
    assert result.exit_code == 0, result.output
    assert "numbers, 8bit" in result.stdout
    assert "2 matrices are not packed" in result.stdout
    said = invoke("model", "info", tmp_path / "packed").stdout
    assert "8 bit" in said
