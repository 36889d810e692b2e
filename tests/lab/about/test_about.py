"""Facts, checks and cards of models, runs, adapters, merged models and GGUF files."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from lora_adapters import peft_adapter
from safetensors.numpy import load_file, save_file
from tiny_llm import TEXTS, make_model, make_tokenizer

from mlx_probe.analysis.compare.compare import compare
from mlx_probe.core.errors import ConfigError, ResultError, SourceError
from mlx_probe.lab.about.card import model_card
from mlx_probe.lab.about.facts import read_facts
from mlx_probe.lab.about.verify import verify_model
from mlx_probe.lab.export import EXPORTS
from mlx_probe.lab.merge import merge_adapter
from mlx_probe.lab.moe.graft import GraftConfig, graft_model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("about")
    make_model(root / "model", make_tokenizer(root / "tokenizer"), dtype="bfloat16")
    single = make_model(root / "single", make_tokenizer(root / "other"))
    peft_adapter(root / "adapter", single)
    return root


def test_facts_of_a_model(made):
    facts = read_facts(str(made / "model"))
    weights = 20
    assert facts.tensors == weights
    assert facts.types == {"BF16": facts.parameters}
    assert (facts.bits, facts.context, facts.tokens, facts.chat) == (16.0, 48, 320, True)
    assert facts.tokenizer == "BPE with byte fallback"
    assert facts.tied is True
    assert facts.architecture["layers"] == 2
    assert facts.adapter is None


def test_facts_of_other_forms(made, tmp_path):
    EXPORTS["gguf"](str(made / "model"), tmp_path / "m.gguf", "q8_0")
    facts = read_facts(str(tmp_path / "m.gguf"))
    assert facts.format == "gguf"
    assert (facts.context, facts.tokens, facts.tied) == (48, 320, True)
    assert facts.tokenizer == "llama, default"
    assert set(facts.types) == {"F32", "F16", "ggml Q8_0, blocks of 32"} or "Q8_0" in str(
        facts.types
    )
    facts = read_facts(str(made / "adapter"))
    assert facts.adapter["kind"] == "lora"
    assert facts.tokenizer is None
    with pytest.raises(SourceError):
        read_facts(str(tmp_path / "none"))


def test_a_model_that_works(made):
    seen = []
    done = verify_model(
        str(made / "model"), "To be", 5, None, lambda done, total: seen.append((done, total))
    )
    assert done.passed
    assert [check.name for check in done.checks] == [
        "tensors", "loads", "generates", "repeats", "finite",
    ]  # fmt: skip
    assert 1 <= len(done.tokens) <= 5
    assert [file.name for file in done.files] == sorted(file.name for file in done.files)
    assert seen[-1][0] == seen[-1][1] == sum(file.bytes for file in done.files)
    again = verify_model(str(made / "model"), "To be", 5, done.sha256[:10].upper())
    assert again.sha256 == done.sha256
    assert again.checks[0].name == "hash"
    assert again.passed
    with pytest.raises(ConfigError, match="is no SHA-256"):
        verify_model(str(made / "model"), expected="12")


def edit(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (lambda w: w.pop("model.norm.weight"), "loads", "model.norm.weight is missing"),
        (lambda w: w["model.norm.weight"].fill(np.nan), "generates", ""),
    ],
)
def test_models_that_do_not_work(made, tmp_path, change, check, says):
    folder = shutil.copytree(made / "single", tmp_path / "model")
    before = verify_model(str(made / "single"), count=2).sha256
    edit(folder, change)
    done = verify_model(str(folder), count=2)
    assert not done.passed
    assert done.sha256 != before
    failed = done.checks[-1]
    assert not failed.passed
    assert failed.name == check
    assert says in failed.text


def front(card):
    _, block, body = card.text.split("---\n", 2)
    return yaml.safe_load(block), body


def test_a_card_of_a_merged_model(made, tmp_path):
    out = tmp_path / "merged"
    merge_adapter(str(made / "single"), str(made / "adapter"), out)
    result = tmp_path / "bpb.json"
    document = {"task": "perplexity", "data": "x.txt", "loss": 1.25, "device": "cpu"}
    result.write_text(json.dumps({**document, "interval": {"low": 1.0, "high": 1.5}}))
    card = model_card(str(out), [result])
    block, body = front(card)
    assert block["base_model"] == "someone/base"
    assert block["base_model_relation"] == "finetune"
    assert block["tags"] == ["lora", "merge", "mlx-probe"]
    [entry] = block["model-index"][0]["results"]
    assert {"type": "loss", "value": 1.25} in entry["metrics"]
    assert card.sections == ("Facts", "How it was changed", "How it was evaluated", "Use")
    assert "6 of 20 tensors changed" in body
    assert "perplexity on x.txt" in body
    assert card.place == out / "README.md"


def test_a_card_of_a_graft(made, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TEXTS[0], "utf-8")
    config = GraftConfig(experts=4, data=str(text), tokens=24)
    grafted = graft_model(str(made / "single"), tmp_path / "graft", config)
    block, body = front(model_card(str(tmp_path / "graft")))
    assert block["base_model"] == str(made / "single")
    assert block["tags"] == ["graft", "mlx-probe", "moe", "sum"]
    assert "2 layers of 4 experts, 12 hidden units each, 4 active" in body
    assert f"{grafted.measured.loss_after:.4g}"[:4] in body
    graft_model(str(made / "single"), tmp_path / "graft", replace(config, run=False))
    card = model_card(str(tmp_path / "graft"))
    assert "How it was evaluated" not in card.sections


def test_a_card_with_a_comparison(made, tmp_path):
    out = tmp_path / "merged"
    merge_adapter(str(made / "single"), str(made / "adapter"), out)
    compare(str(made / "single"), str(out), out=tmp_path / "run")
    card = model_card(str(out), [], [tmp_path / "run"])
    _, body = front(card)
    assert "compared by `mlx-probe compare`: 6 of 20 tensors differ" in body
    assert "self\\_attn.q\\_proj" in body


def test_a_card_of_a_training_run(made, tmp_path):
    run = tmp_path / "shakespeare"
    shutil.copytree(made / "single", run / "model")
    meta = {
        "kind": "train", "steps_done": 120, "tokens": 480_000, "device": "cpu",
        "recipe": {"train": {"learning_rate": 0.003, "batch": 8}, "optimizer": {"name": "muon"}},
        "final": {"step": 120, "val_loss": 3.5, "val_bpb": 1.75},
        "data": {"source": ["hub:owner/plays", "book.txt"], "documents": 40},
        "training_seconds": 61.2,
    }  # fmt: skip
    (run / "run_meta.json").write_text(json.dumps(meta))
    for reference in (run, run / "run_meta.json", run / "model"):
        card = model_card(str(reference))
        block, body = front(card)
        assert body.strip().startswith("# shakespeare\n")
        assert block["datasets"] == ["owner/plays"]
        assert "base_model" not in block
        assert card.sections == ("Facts", "How it was trained", "How it was evaluated", "Use")
        for text in ("480,000", "0.003", "muon", "61 s", "1.75"):
            assert text in body
        assert card.place == run / "model" / "README.md"


def test_a_card_of_an_adapter(made):
    card = model_card(str(made / "adapter"))
    block, body = front(card)
    assert block["library_name"] == "peft"
    assert block["base_model_relation"] == "adapter"
    assert "kind lora" in body


def test_names_in_a_card_are_only_shown(made, tmp_path):
    folder = shutil.copytree(made / "adapter", tmp_path / "a")
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = '<b>x</b> | [y](z): "q"'
    path.write_text(json.dumps(config))
    block, body = front(model_card(str(folder)))
    assert block["base_model"] == config["base_model_name_or_path"]
    assert "<b>" not in body


def test_evaluations_and_comparisons_that_are_none(made, tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(ResultError, match="is no JSON object"):
        model_card(str(made / "single"), [tmp_path / "x.json"])
    (tmp_path / "run_meta.json").write_text('{"kind": "analyze"}')
    with pytest.raises(ResultError, match=str(tmp_path)):
        model_card(str(made / "single"), [], [tmp_path])
