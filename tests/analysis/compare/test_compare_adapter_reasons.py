"""Adapters of which something is not known: a message or a reason, never a wrong number."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from pairs import adapter, rows_of, saved
from weightfiles import write_safetensors

from mlx_probe.analysis.compare.compare import compare
from mlx_probe.checkpoint import ADAPTERS
from mlx_probe.cli import cli
from mlx_probe.core.errors import ConfigError

PREFIX = "base_model.model."
LAYER = "model.layers.0"
Q, UP = f"{LAYER}.self_attn.q_proj", "model.layers.1.mlp.up_proj"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}


def factors(rng, arrays, *modules, rank=4):
    stored = {}
    for module in modules:
        rows, cols = arrays[f"{module}.weight"].shape
        stored[f"{PREFIX}{module}.lora_A.weight"] = rng.standard_normal((rank, cols))
        stored[f"{PREFIX}{module}.lora_B.weight"] = rng.standard_normal((rows, rank))
    return {name: x.astype(np.float32) for name, x in stored.items()}


REFUSED = {key: kind for key, kind in ADAPTERS.items() if kind.refusal and kind.peft_types}


@pytest.mark.parametrize(("key", "kind"), REFUSED.items(), ids=list(REFUSED))
def test_a_kind_that_is_not_supported_is_named(base, tmp_path, key, kind):
    stored = {f"{PREFIX}{Q}.{key}_weight": np.ones((4, 4), np.float32)}
    folder = adapter(tmp_path / "x", stored, {"peft_type": kind.peft_types[0]})
    with pytest.raises(ConfigError, match="kind not supported") as refused:
        compare(base, folder, out=tmp_path / "out")
    assert kind.title in refused.value.fact
    assert kind.refusal in refused.value.fact


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "LOBSTER"}, "PEFT calls it LOBSTER"),
        (CONFIG | {"use_lobster": True}, "sets use_lobster, which is not known"),
        (CONFIG | {"lobster_config": {"claws": 2}}, "sets lobster_config, which is not known"),
        (CONFIG | {"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        (CONFIG | {"alora_invocation_tokens": [1]}, "aLoRA"),
        (CONFIG | {"arrow_config": {"top_k": 3}}, "Arrow"),
        (CONFIG | {"use_qalora": True}, "QALoRA"),
    ],
)
def test_what_has_no_merged_weights_is_refused(arrays, base, tmp_path, rng, config, said):
    folder = adapter(tmp_path / "x", factors(rng, arrays, Q), config)
    with pytest.raises(ConfigError, match=said):
        compare(base, folder, out=tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_down_blocks_0_attn_to_q.lora_down.weight",
        "lora_te1_text_model_layers_0_q_proj.lora_down.weight",
        "unet.down_blocks.0.attn.to_q.lora.down.weight",
        "unet.down_blocks.0.attn.processor.to_q_lora.down.weight",
        "lycoris_layers_0_q_proj.lokr_w1",
    ],
)
def test_names_of_other_programs_are_no_model(base, tmp_path, name):
    folder = saved(tmp_path / "x", {name: np.ones((4, 40), np.float32)}, {"about": "nothing"})
    with pytest.raises(ConfigError, match="kohya"):
        compare(base, folder, out=tmp_path / "out")


def test_the_command_names_the_kind_and_fails(base, tmp_path):
    stored = {f"{PREFIX}{Q}.vblora_logits_A": np.ones((4, 4), np.float32)}
    folder = adapter(tmp_path / "x", stored, {"peft_type": "VBLORA"})
    done = CliRunner().invoke(cli, ["compare", str(base), str(folder), "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "VBLoRA" in done.stderr
    assert "kind not supported" in done.stderr


@pytest.mark.parametrize(
    ("extra", "config", "said"),
    [
        ({f"{PREFIX}{Q}.lora_E": (4, 1)}, CONFIG, "lora_E, which is not known"),
        ({f"{PREFIX}{Q}.lora_lobster.weight": (4, 4)}, CONFIG, "lora_lobster"),
        ({f"{PREFIX}{Q}.lobster": (48,)}, CONFIG, "lobster beside its factors"),
        ({f"{PREFIX}{Q}.lora_A.second.weight": (4, 40)}, CONFIG, "lora_A"),
        ({}, CONFIG | {"init_lora_weights": "pissa_niter_16"}, "init_lora_weights"),
        ({}, CONFIG | {"init_lora_weights": "corda"}, "init_lora_weights"),
        ({}, CONFIG | {"init_lora_weights": "loftq"}, "init_lora_weights"),
        ({}, CONFIG | {"init_lora_weights": "lobster"}, "init_lora_weights"),
        ({}, CONFIG | {"kasa_config": {}}, "lora_diag"),
        ({f"{PREFIX}{Q}.lora_diag": (3,)}, CONFIG, "lora_diag of 3"),
        (
            {f"{PREFIX}{Q}.lora_magnitude_vector": (48,)},
            CONFIG | {"use_dora": False},
            "use_dora is false",
        ),
        ({}, CONFIG | {"r": 8}, "adapter_config.json says 8"),
        ({}, CONFIG | {"rank_pattern": {"q_proj": 2}}, "adapter_config.json says 2"),
        ({}, CONFIG | {"target_modules": ["k_proj"]}, "does not target"),
        ({}, CONFIG | {"target_modules": r".*\.k_proj"}, "does not target"),
        ({}, CONFIG | {"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}, "not target"),
        ({}, CONFIG | {"target_modules": ["q_proj"], "layers_to_transform": [1]}, "not target"),
        ({}, CONFIG | {"use_dora": True}, "DoRA's norms"),
        ({}, CONFIG | {"alpha_pattern": {"(": 3}}, "is no pattern"),
        ({}, CONFIG | {"alpha_pattern": {"q_proj": "much"}}, "has the value 'much'"),
        ({}, {"peft_type": "LORA", "r": 4}, "scale"),
    ],
)
def test_what_is_not_known_has_a_reason_and_exit_code_3(
    arrays, base, tmp_path, rng, extra, config, said
):
    stored = factors(rng, arrays, Q)
    stored |= {name: np.ones(shape, np.float32) for name, shape in extra.items()}
    folder = adapter(tmp_path / "x", stored, config)
    row = rows_of(base, folder, tmp_path / "out").loc[f"{Q}.weight"]
    assert row.status in ("skipped", "reshaped")
    assert said in row.status_reason
    arguments = ["compare", str(base), str(folder), "--out", str(tmp_path / "again")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 3
    assert "what the adapter makes of them is not computed" in done.stderr
    allowed = [*arguments[:-1], str(tmp_path / "third"), "--allow-unknown"]
    assert CliRunner().invoke(cli, allowed).exit_code == 0


def test_nothing_is_said_of_tensors_that_a_lost_module_may_be_part_of(base, arrays, tmp_path, rng):
    """Experts under other names: no expert of that layer is called identical."""
    experts = {
        f"{LAYER}.mlp.experts.{i}.{name}.weight": rng.standard_normal((8, 40)).astype(np.float32)
        for i in range(3)
        for name in ("w1", "w3")
    }
    folder = saved(tmp_path / "base", arrays | experts)
    stored = factors(rng, arrays, Q) | {
        f"{PREFIX}{LAYER}.mlp.experts.lora_A.weight": np.ones((12, 40), np.float32),
        f"{PREFIX}{LAYER}.mlp.experts.lora_B.weight": np.ones((7, 12), np.float32),
    }
    config = CONFIG | {"target_parameters": ["mlp.experts.all_at_once"]}
    rows = rows_of(folder, adapter(tmp_path / "x", stored, config), tmp_path / "out")
    assert set(rows.loc[list(experts)].status) == {"skipped"}
    assert "may be a part of it" in rows.loc[next(iter(experts))].status_reason
    assert rows.loc[f"{Q}.weight"].status == "ok"
    # Layer 1 has nothing to do with it.
    assert rows.loc[f"{UP}.weight"].status == "identical"


def test_a_target_for_which_nothing_is_stored(arrays, base, tmp_path, rng):
    """PEFT begins with a change of 0, unless the configuration says otherwise."""
    config = CONFIG | {"target_modules": ["q_proj", "k_proj"]}
    folder = adapter(tmp_path / "x", factors(rng, arrays, Q), config)
    rows = rows_of(base, folder, tmp_path / "out")
    assert rows[rows.status != "identical"].index.tolist() == [f"{Q}.weight"]
    other = adapter(tmp_path / "y", factors(rng, arrays, Q), config | {"init_lora_weights": False})
    rows = rows_of(base, other, tmp_path / "again")
    missing = rows[rows.status == "skipped"]
    assert len(missing) == 3
    assert set(missing.block_type) == {"q_proj", "k_proj"}
    assert missing.status_reason.str.contains("stores nothing for it").all()


def test_a_head_that_ties_by_its_settings_only(arrays, tmp_path, rng):
    """The configuration ties head and embeddings, the files hold different ones."""
    embed, head = "model.embed_tokens", "lm_head"
    other = {f"{head}.weight": rng.standard_normal((90, 40)).astype(np.float32)}
    config = {"model_type": "llama", "tie_word_embeddings": True}
    folder = saved(tmp_path / "base", arrays | other, config)
    stored = factors(rng, arrays | other, head)
    rows = rows_of(folder, adapter(tmp_path / "x", stored, CONFIG), tmp_path / "out")
    assert rows.loc[f"{head}.weight"].status == "ok"
    assert rows.loc[f"{embed}.weight"].status == "skipped"
    assert "ties it" in rows.loc[f"{embed}.weight"].status_reason


def test_a_head_with_the_bytes_of_the_embeddings_changes_with_them(arrays, tmp_path, rng):
    twice = arrays | {"lm_head.weight": arrays["model.embed_tokens.weight"]}
    folder = saved(tmp_path / "base", twice, {"model_type": "llama"})
    stored = {
        f"{PREFIX}model.embed_tokens.lora_embedding_A": rng.standard_normal((4, 90)),
        f"{PREFIX}model.embed_tokens.lora_embedding_B": rng.standard_normal((40, 4)),
    }
    stored = {name: x.astype(np.float32) for name, x in stored.items()}
    rows = rows_of(folder, adapter(tmp_path / "x", stored, CONFIG), tmp_path / "out")
    both = rows.loc[["model.embed_tokens.weight", "lm_head.weight"]]
    assert set(both.status) == {"ok"}
    assert both.change_norm.nunique() == 1
    untied = saved(tmp_path / "free", twice, {"model_type": "llama", "tie_word_embeddings": False})
    rows = rows_of(untied, tmp_path / "x", tmp_path / "again")
    assert rows.loc["lm_head.weight"].status == "identical"


def test_full_fine_tuning_of_mlx_lm_replaces_what_it_stores(base, arrays, tmp_path):
    name = f"{UP}.weight"
    (tmp_path / "x").mkdir()
    write_safetensors(tmp_path / "x" / "adapters.safetensors", {name: arrays[name] + 1})
    (tmp_path / "x" / "adapter_config.json").write_text(json.dumps({"fine_tune_type": "full"}))
    rows = rows_of(base, tmp_path / "x", tmp_path / "out")
    assert rows.loc[name].status == "ok"
    assert rows.loc[name].max_change == pytest.approx(1)
    assert set(rows.drop(name).status) == {"identical"}
