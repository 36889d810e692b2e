"""`mlx-probe evaluate`: text, JSON, a file, refusals."""

import json

import pytest
from models import invoke, refuses
from tiny_llm import TEXTS, make_model, make_tokenizer


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    (root / "text.txt").write_text("\n\n".join(TEXTS * 3))
    return make_model(root / "model", make_tokenizer(root / "tokenizer")), root / "text.txt"


def test_a_document_and_a_text(places, tmp_path):
    model, text = places
    out = tmp_path / "new" / "result.json"
    result = invoke("evaluate", model, "--data", text, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    whole = json.loads(result.stdout)
    assert json.loads(out.read_text()) == whole
    said = invoke("evaluate", model, "--data", text).stdout
    for name in ("val_loss", "perplexity", "bits_per_byte"):
        assert f"{whole[name]:.4f}" in said
    assert "windows of 48, stride 48" in said
    assert invoke("evaluate", model, "--data", text, "--quiet").output == ""


def test_what_is_refused(places, tmp_path):
    model, text = places
    refuses(invoke("evaluate", model, "--data", tmp_path / "nothing"), "nothing")
    refuses(invoke("evaluate", tmp_path, "--data", text), "no weights")
    result = invoke("evaluate", model, "--data", text, "--context", "64")
    refuses(result, "more than the 48", code=2)
