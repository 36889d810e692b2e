"""`mlx-probe model`: info, verify and card."""

import pytest
from lora_adapters import peft_adapter
from models import invoke, refuses
from tiny_llm import make_model, make_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("model")
    folder = make_model(root / "model", make_tokenizer(root / "tokenizer"))
    peft_adapter(root / "adapter", folder)
    return folder


def test_info(model):
    said = invoke("model", "info", model).stdout
    assert "model_type llama, layers 2" in said
    assert "48 tokens" in said
    assert "BPE with byte fallback, 320 tokens, with a chat template" in said
    said = invoke("model", "info", model.parent / "adapter").stdout
    assert "kind lora, layout peft" in said


def test_verify(model):
    result = invoke("model", "verify", model, "--prompt", "To be")
    assert result.exit_code == 0, result.output
    for line in ("tensors    ok  all 20 can be read", "repeats    ok  the same tokens twice"):
        assert line in result.stdout
    digest = next(
        line.split()[0] for line in result.stdout.splitlines() if line.endswith("all files")
    )
    assert invoke("model", "verify", model, "--expect", digest[:8], "-q").exit_code == 0
    result = invoke("model", "verify", model, "--expect", "0123456789")
    refuses(result, "does not pass: hash: " + digest)
    refuses(invoke("model", "verify", model, "--expect", "01"), "is no SHA-256", code=2)


def test_card(model, tmp_path):
    out = tmp_path / "README.md"
    result = invoke("model", "card", model, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    text = out.read_text("utf-8")
    assert invoke("model", "card", model, "--out", "-").stdout == text
    assert text.startswith("---\nlibrary_name: transformers\n")
    # Our own card is replaced, and no other.
    assert invoke("model", "card", model, "--out", out, "-q").output == ""
    out.write_text("# By hand\n")
    refuses(invoke("model", "card", model, "--out", out), "was not written by mlx-probe")
    assert invoke("model", "card", model, "--out", out, "--replace").exit_code == 0
    assert out.read_text("utf-8") == text
