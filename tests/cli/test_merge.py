"""`mlx-probe merge`: text, refusals."""

import pytest
from lora_adapters import peft_adapter
from models import invoke, refuses
from tiny_llm import make_model, make_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("merge")
    folder = make_model(root / "model", make_tokenizer(root / "tokenizer"))
    peft_adapter(root / "adapter", folder)
    return folder


def test_a_text(model, tmp_path):
    adapter = model.parent / "adapter"
    result = invoke("merge", model, adapter, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "20 tensors of" in result.stdout
    assert "lora of peft, rank 3: 6 tensors changed" in result.stdout
    assert invoke("merge", model, adapter, "--out", tmp_path / "out", "-q").output == ""


def test_what_is_refused(model, tmp_path):
    adapter = model.parent / "adapter"
    refuses(invoke("merge", model, tmp_path / "none", "--out", tmp_path / "out"), "none")
    refuses(invoke("merge", model, model, "--out", tmp_path / "out"), "is no adapter")
    refuses(invoke("merge", model, adapter, "--out", model), "which is read", code=2)
    result = invoke("merge", model, adapter, "--out", tmp_path / "out", "--dtype", "int4")
    assert result.exit_code == 2
