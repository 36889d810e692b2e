"""An adapter from a difference: its numbers, its two layouts, and who loads them."""

import json
import shutil

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from lora_adapters import RANK, logits, mlx_adapter, peft_adapter
from models import invoke, refuses
from safetensors.numpy import load_file, save_file
from tiny_llm import make_model, make_tokenizer

import mlx_probe
from mlx_probe.lab.extract_lora.extract import extract_lora
from mlx_probe.lab.merge import merge_adapter
from mlx_probe.runs.experiments import read_experiment

ALL = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("extract")


@pytest.fixture(scope="module")
def base(root):
    with mx.stream(mx.cpu):
        tokenizer = make_tokenizer(root / "tokenizer")
        return make_model(root / "base", tokenizer, dim=64, hidden=96, heads=4, kv_heads=2)


@pytest.fixture(scope="module")
def merged(root, base):
    """The base with a merged LoRA on every projection, in float32."""
    with mx.stream(mx.cpu):
        mlx_adapter(root / "lora", base, "lora", ALL)
    merge_adapter(str(base), str(root / "lora"), root / "merged")
    return root / "merged"


@pytest.fixture(scope="module")
def run(root, base, merged):
    return extract_lora(base, merged, rank=RANK, out=root / "out", formats=["parquet"])


def weights(folder):
    return load_file(folder / "model.safetensors")


def changed(folder, base, edit):
    """A copy of a model with other weights."""
    shutil.copytree(base, folder)
    arrays = weights(base)
    edit(arrays)
    save_file(arrays, folder / "model.safetensors", {"format": "pt"})
    return folder


def peft_changes(folder):
    """What PEFT adds to each weight, by the definition of its config."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    changes = {}
    for name in tensors:
        module, _, piece = name.removeprefix("base_model.model.").partition(".lora_")
        if piece != "A.weight":
            continue
        rank = config["rank_pattern"].get(module, config["r"])
        alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
        a, b = tensors[name], tensors[name.replace("lora_A", "lora_B")]
        assert a.shape[0] == b.shape[1] == rank
        delta = alpha / rank * b.astype("f8") @ a.astype("f8")
        changes[f"{module}.weight"] = delta.T if config["fan_in_fan_out"] else delta
    return changes


def test_a_merged_lora_comes_back(run, base, merged):
    """The relative error is far below 1e-3, by PEFT's own formula."""
    before, after = weights(base), weights(merged)
    changes = peft_changes(run.folder / "adapter" / "peft")
    assert len(changes) == 2 * len(ALL)
    for name, change in changes.items():
        want = after[name].astype("f8") - before[name]
        assert np.linalg.norm(change - want) < 1e-6 * np.linalg.norm(want)
    table = mlx_probe.load_side_table(run, "adapter").set_index("param_name")
    rows = table.loc[list(changes)]
    assert set(rows.lora_rank) == {RANK}
    assert set(rows.status) == {"ok"}
    assert rows.adapter_error.max() < 1e-6
    assert (rows.adapter_error_of_weight <= rows.adapter_error * rows.change_norm / rows.norm).all()
    assert set(rows.delta_rank_above_rounding) == {RANK}
    said = run.meta["extraction"]
    assert (said["rank"], said["rank_above_rounding"], said["left_out"]) == (RANK, RANK, 0)
    assert said["error"] < 1e-6
    assert run.passed


def test_mlx_lm_loads_it_and_says_the_same(run, base, merged):
    with mx.stream(mx.cpu):
        load = mlx_lm("utils").load
        adapted, _ = load(str(base), adapter_path=str(run.folder / "adapter" / "mlx-lm"))
        want = logits(mlx_lm("utils").load_model(merged)[0])
        plain = logits(mlx_lm("utils").load_model(base)[0])
        assert np.abs(want - plain).max() > 0.1
        assert np.abs(logits(adapted) - want).max() < 1e-3


def test_both_layouts_are_read_and_merged_here(tmp_path, run, base, merged):
    want = weights(merged)
    for layout in ("peft", "mlx-lm"):
        folder = run.folder / "adapter" / layout
        merge_adapter(str(base), str(folder), tmp_path / layout)
        for name, got in weights(tmp_path / layout).items():
            np.testing.assert_allclose(got, want[name], atol=1e-5 * np.abs(want[name]).max())


def test_errors_are_those_of_lapack(tmp_path, base):
    """A full-rank change: the error is the tail of the singular values."""
    rng = np.random.default_rng(0)

    def edit(arrays):
        for name, array in arrays.items():
            if "proj" in name:
                arrays[name] = array + 0.1 * rng.standard_normal(array.shape).astype("f4")

    tuned = changed(tmp_path / "tuned", base, edit)
    before, after = weights(base), weights(tuned)
    for settings in ({"rank": 5}, {"energy": 0.7}, {"rank": 9, "energy": 0.7}):
        run = extract_lora(base, tuned, out=tmp_path / "out", overwrite=True, **settings)
        rows = mlx_probe.load_side_table(run, "adapter").set_index("param_name")
        total = rest = 0.0
        for name in before:
            if "proj" not in name:
                assert rows.status[name] == "identical"
                continue
            sigma = np.linalg.svd(after[name].astype("f8") - before[name], compute_uv=False)
            shares = np.cumsum(sigma**2) / np.sum(sigma**2)
            rank = settings.get("rank", 99)
            if "energy" in settings:
                rank = min(rank, int(np.argmax(shares >= 0.7)) + 1)
            assert rows.lora_rank[name] == rank
            tail = np.linalg.norm(sigma[rank:])
            assert rows.best_error[name] == pytest.approx(tail / np.linalg.norm(sigma), rel=1e-9)
            assert rows.adapter_error[name] == pytest.approx(rows.best_error[name], rel=1e-6)
            norm = np.linalg.norm(before[name].astype("f8"))
            assert rows.adapter_error_of_weight[name] == pytest.approx(tail / norm, rel=1e-6)
            total, rest = total + np.sum(sigma**2), rest + tail**2
        for made in run.meta["extraction"]["adapters"].values():
            assert made["error"] == pytest.approx(np.sqrt(rest / total), rel=1e-6)
        assert run.meta["extraction"]["rank_above_rounding"] is None


def test_ranks_may_differ(tmp_path, base):
    """PEFT has a pattern; mlx-lm's factors are filled up with zeros."""
    rng = np.random.default_rng(1)
    wanted = {"model.layers.0.self_attn.q_proj": 2, "model.layers.1.mlp.down_proj": 5}

    def edit(arrays):
        for name, rank in wanted.items():
            rows, cols = arrays[f"{name}.weight"].shape
            change = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, cols))
            arrays[f"{name}.weight"] += change.astype("f4") / 10

    tuned = changed(tmp_path / "tuned", base, edit)
    run = extract_lora(base, tuned, energy=1 - 1e-9, out=tmp_path / "out")
    changes = peft_changes(run.folder / "adapter" / "peft")
    before, after = weights(base), weights(tuned)
    for name in wanted:
        want = after[f"{name}.weight"].astype("f8") - before[f"{name}.weight"]
        assert np.linalg.norm(changes[f"{name}.weight"] - want) < 1e-4 * np.linalg.norm(want)
    config = json.loads((run.folder / "adapter" / "peft" / "adapter_config.json").read_text())
    assert {config["r"], *config["rank_pattern"].values()} == {2, 5}
    factors = load_file(run.folder / "adapter" / "mlx-lm" / "adapters.safetensors")
    assert {array.shape[1] for name, array in factors.items() if name.endswith("a")} == {5}
    with mx.stream(mx.cpu):
        folder = run.folder / "adapter" / "mlx-lm"
        adapted, _ = mlx_lm("utils").load(str(base), adapter_path=str(folder))
        want = logits(mlx_lm("utils").load_model(tuned)[0])
        assert np.abs(logits(adapted) - want).max() < 1e-3


def test_a_shared_table_of_embeddings(tmp_path, base):
    """mlx-lm's adapter follows the shared output head, PEFT's does not: it gets none."""
    rng = np.random.default_rng(2)

    def edit(arrays):
        table = arrays["model.embed_tokens.weight"]
        change = rng.standard_normal((len(table), 2)) @ rng.standard_normal((2, table.shape[1]))
        table += change.astype("f4") / 20
        arrays["model.norm.weight"] *= 1.5
        arrays["model.layers.0.self_attn.q_proj.weight"] += 0.1 * np.outer(
            rng.standard_normal(64), rng.standard_normal(64)
        ).astype("f4")

    tuned = changed(tmp_path / "tuned", base, edit)
    run = extract_lora(base, tuned, rank=4, out=tmp_path / "out", modules_to_save=True)
    rows = mlx_probe.load_side_table(run, "adapter").set_index("param_name")
    table, norm = rows.loc["model.embed_tokens.weight"], rows.loc["model.norm.weight"]
    assert (table.status, table.mlx_lm) == ("ok", "lora")
    assert "output head shares" in table.status_reason
    assert (norm.status, norm.peft) == ("ok", "whole")
    said = run.meta["extraction"]["adapters"]
    share = norm.change_norm**2 / (rows.change_norm**2).sum()
    assert said["mlx_lm"]["error"] == pytest.approx(np.sqrt(share), rel=1e-3)
    share = table.change_norm**2 / (rows.change_norm**2).sum()
    assert said["peft"]["error"] == pytest.approx(np.sqrt(share), rel=1e-3)
    stored = load_file(run.folder / "adapter" / "peft" / "adapter_model.safetensors")
    np.testing.assert_array_equal(
        stored["base_model.model.model.norm.weight"], weights(tuned)["model.norm.weight"]
    )
    # With the norm of the base the two models are the same.
    arrays = weights(tuned) | {"model.norm.weight": weights(base)["model.norm.weight"]}
    save_file(arrays, tuned / "model.safetensors", {"format": "pt"})
    with mx.stream(mx.cpu):
        folder = run.folder / "adapter" / "mlx-lm"
        adapted, _ = mlx_lm("utils").load(str(base), adapter_path=str(folder))
        want = logits(mlx_lm("utils").load_model(tuned)[0])
        assert np.abs(logits(adapted) - want).max() < 1e-3


def test_an_adapter_of_another_kind_becomes_a_lora(tmp_path, base):
    factors = peft_adapter(tmp_path / "adapter", base)
    run = extract_lora(base, tmp_path / "adapter", rank=RANK, out=tmp_path / "out")
    changes = peft_changes(run.folder / "adapter" / "peft")
    for name, (a, b) in factors.items():
        want = 2.5 * b.astype("f8") @ a
        assert np.linalg.norm(changes[f"{name}.weight"] - want) < 1e-6 * np.linalg.norm(want)
    assert run.meta["extraction"]["rank_above_rounding"] is None


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 5e-3), ("float16", 1e-3)])
def test_narrow_factors_have_their_own_error(tmp_path, base, merged, dtype, error):
    run = extract_lora(base, merged, rank=RANK, out=tmp_path / "out", dtype=dtype)
    rows = mlx_probe.load_side_table(run, "adapter")
    rows = rows[rows.status == "ok"]
    assert rows.best_error.max() < 1e-6
    assert 1e-5 < rows.adapter_error.min() < rows.adapter_error.max() < error


def test_the_command(tmp_path, base, merged):
    result = invoke("compare", base, merged, "--extract-lora", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "adapter: 14 matrices, rank 2 at most" in result.output
    assert f"of rank {RANK} above rounding: --extract-lora {RANK}" in result.output
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == set()
    experiment = read_experiment(folder)
    assert experiment.metrics["adapter_rank"] == 2
    assert {path.rpartition("/")[2] for path in experiment.outputs} == {"peft", "mlx-lm"}
    assert invoke("validate", folder).exit_code == 0
    (folder / "adapter" / "peft" / "adapter_config.json").write_text("{}")
    assert invoke("validate", folder).exit_code == 1
    refuses(invoke("compare", base, merged, "--energy", 1.5), "--energy", code=2)
    refuses(invoke("compare", base, merged, "--modules-to-save"), "none is extracted", code=2)
    refuses(invoke("compare", base, merged, "--out", folder), "with other options (extract: ")


def test_nothing_to_extract(tmp_path, base):
    result = invoke("compare", base, base, "--extract-lora", 2, "--out", tmp_path / "out")
    refuses(result, "no matrix of")
