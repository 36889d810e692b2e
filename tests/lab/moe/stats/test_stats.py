"""The job: its files, what it refuses, and that it goes on where it was interrupted."""

import json
import re
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from models import invoke
from planted_mixtures import (
    EXPERTS,
    expert_of,
    named,
    plant,
    put,
    random_layer,
    reordered,
    write_mixture,
)
from safetensors.numpy import load_file
from weightfiles import write_gguf, write_safetensors

from mlx_probe.analysis.validate import validate
from mlx_probe.core.errors import ConfigError, Interrupted, ResultError
from mlx_probe.lab.moe.stats.config import StatsConfig
from mlx_probe.lab.moe.stats.stats import moe_stats
from mlx_probe.runs.load_side import load_side_table
from mlx_probe.runs.mixture.folder import KIND, LAYERS, MAPS
from mlx_probe.runs.mixture.maps import read_maps

CONFIG = StatsConfig(workers=1, backend="numpy")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Three layers; of the second one we know what is in it."""
    rng = np.random.default_rng(3)
    layers = [random_layer(rng, 14, width=8, hidden=16) for _ in range(3)]
    plant(rng, layers[1])
    return write_mixture(tmp_path_factory.mktemp("stats") / "model", "qwen3_moe", layers)


@pytest.fixture(scope="module")
def run(model):
    return moe_stats(model, model.parent / "whole", config=CONFIG)


def written(folder):
    """The bytes of all that depends on the model alone."""
    names = ("experts.csv", "experts.layers.csv", MAPS)
    return [(folder / name).read_bytes() for name in names]


def test_the_run_is_in_its_folder(run):
    assert run.passed
    assert run.complete
    assert run.meta["kind"] == KIND
    assert {path.name for path in run.outputs} == {"experts.csv", "experts.layers.csv", MAPS}
    assert len(run.load()) == 42
    assert list(load_side_table(run, LAYERS)["copies"]) == [0, 3, 0]
    assert [each["layer"] for each in run.meta["found"]["merged"]] == [1, 1]
    maps = read_maps(run.folder / MAPS)
    assert {each.shape for each in maps.values()} == {(3, 14, 14)}
    assert {"similarity", "cosine", "router_cosine"} <= maps.keys()
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".layers")]
    assert all(check.passed for check in validate(run.folder))


def test_another_number_in_the_table_is_noticed(run, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in run.folder.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    table = broken / "experts.csv"
    third = re.compile(r"^(0,[^,]*,[^,]*,)3,", re.MULTILINE)
    table.write_text(third.sub(r"\g<1>4,", table.read_text()))
    failed = {check.name for check in validate(broken) if not check.passed}
    assert failed == {"sha256 of experts.csv", "unique rows"}


def test_it_goes_on_with_the_next_layer(model, run, tmp_path, monkeypatch):
    job = import_module("mlx_probe.lab.moe.stats.stats")
    whole, measured = job.measure_layer, []

    def counted(plan, layer, meter, on_start):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(layer.index)
        return whole(plan, layer, meter, on_start)

    monkeypatch.setattr(job, "measure_layer", counted)
    with pytest.raises(Interrupted, match="28 of 42"):
        moe_stats(model, tmp_path / "out", config=CONFIG)
    assert not (tmp_path / "out" / "experts.run_meta.json").exists()
    del measured[:1]
    again = moe_stats(model, tmp_path / "out", config=CONFIG)
    assert measured == [1, 2]
    assert again.meta["resumed_rows"] == 28
    assert written(again.folder) == written(run.folder)


def test_a_layer_that_uses_the_experts_of_another_one_is_named(model, tmp_path):
    arrays = load_file(model / "model.safetensors")
    kept = {name: each for name, each in arrays.items() if "layers.2.mlp.experts" not in name}
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.joinpath("config.json").write_bytes((model / "config.json").read_bytes())
    write_safetensors(shared / "model.safetensors", kept)
    told = []
    run = moe_stats(shared, tmp_path / "out", config=CONFIG, on_alert=lambda *s: told.append(s))
    [(text, is_warning)] = told
    assert is_warning
    assert text.startswith("model.layers.2.mlp.gate.weight is a router without experts")
    assert len(run.load()) == 28
    said = invoke("moe", "stats", shared, "--out", tmp_path / "again").stderr
    assert "is a router without experts" in " ".join(said.split())
    quiet = invoke("moe", "stats", shared, "--out", tmp_path / "quiet", "-q")
    assert quiet.output == ""


def test_a_layer_whose_file_is_gone_is_measured_again(model, run, tmp_path, monkeypatch):
    job = import_module("mlx_probe.lab.moe.stats.stats")
    whole = job.measure_layer

    def stopping(plan, layer, meter, on_start):
        if layer.index == 2:
            raise KeyboardInterrupt
        return whole(plan, layer, meter, on_start)

    with monkeypatch.context() as patch:
        patch.setattr(job, "measure_layer", stopping)
        with pytest.raises(Interrupted):
            moe_stats(model, tmp_path / "out", config=CONFIG)
    [file] = (tmp_path / "out").glob(".layers.*/0.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    again = moe_stats(model, tmp_path / "out", config=CONFIG)
    assert written(again.folder) == written(run.folder)


def test_workers_and_memory_change_no_number(model, run, tmp_path):
    config = StatsConfig(workers=2, backend="numpy", memory_limit=1 << 40)
    assert written(moe_stats(model, tmp_path / "out", config=config).folder) == written(run.folder)


def test_an_expert_that_cannot_be_read_costs_itself_alone(tmp_path, rng):
    layer = random_layer(rng)
    put(layer, 7, reordered(expert_of(layer, 3), rng.permutation(layer["gate"].shape[1])))
    arrays = {name: values.astype("f4") for name, values in named("qwen3_moe", 0, layer).items()}
    name = "model.layers.0.mlp.experts.2.up_proj.weight"
    arrays[name] = (np.ones(arrays[name].shape, np.uint8), "U8")
    other = "model.layers.0.mlp.experts.5.gate_proj.weight"
    arrays[other][0, 0] = np.nan
    folder = tmp_path / "model"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", arrays)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "qwen3_moe", "hidden_size": 32, "quantization_config": {}})
    )
    run = moe_stats(folder, tmp_path / "out", config=CONFIG)
    rows = run.load().to_dict("records")
    assert len(rows) == EXPERTS
    status = {2: "skipped", 5: "nonfinite"}
    assert [row["status"] for row in rows] == [status.get(i, "ok") for i in range(EXPERTS)]
    assert rows[2]["status_reason"].startswith("up_proj: ")
    assert rows[2]["gate_effective_rank"] > 1
    assert pd.isna(rows[2]["nearest_expert"])
    assert rows[2]["router_norm"] > 0
    assert 2 not in {row["nearest_overlap_expert"] for row in rows}
    # The others have the numbers of a layer without the two.
    assert rows[7]["copy_of"] == 3
    overlaps = read_maps(run.folder / MAPS)["similarity"][0]
    assert np.isnan(overlaps[2]).all()
    assert overlaps[7, 3] == pytest.approx(1)
    assert np.isfinite(read_maps(run.folder / MAPS)["router_cosine"]).all()
    assert load_side_table(run, LAYERS)["status"][0] == "skipped"
    assert run.passed


def test_a_gguf_file_of_stacked_experts(tmp_path, rng):
    experts, width, hidden = 5, 16, 32
    order = rng.permutation(width)
    stacks = {
        name: rng.standard_normal((experts, width, hidden)).astype("f4")
        for name in ("gate", "up", "down")
    }
    for stack in stacks.values():
        stack[4] = stack[1][order]
    stacks["down"] = np.ascontiguousarray(stacks["down"].swapaxes(1, 2))
    tensors = {f"blk.0.ffn_{name}_exps.weight": (stack, "F32") for name, stack in stacks.items()}
    tensors["blk.0.ffn_gate_inp.weight"] = (np.eye(experts, hidden, dtype="f4"), "F32")
    shape = {
        "block_count": 1, "embedding_length": hidden, "expert_feed_forward_length": width,
        "expert_count": experts, "expert_used_count": 2,
    }  # fmt: skip
    numbers = {f"qwen3moe__{key}": value for key, value in shape.items()}
    file = write_gguf(tmp_path / "m.gguf", tensors, architecture="qwen3moe", **numbers)
    run = moe_stats(file, tmp_path / "out", config=CONFIG)
    assert run.meta["found"]["copies"] == [
        {"layer": 0, "expert": 4, "of": 1, "reordered": True},
    ]
    assert list(load_side_table(run, LAYERS)["active"]) == [2]


class TestRefused:
    def test_a_dense_model(self, tmp_path, rng):
        folder = tmp_path / "dense"
        folder.mkdir()
        name = "model.layers.0.mlp.up_proj.weight"
        write_safetensors(folder / "model.safetensors", {name: np.ones((8, 4), "f4")})
        with pytest.raises(ConfigError, match="has no experts: it is a dense model") as refused:
            moe_stats(folder, tmp_path / "out")
        assert "moe graft" in refused.value.remedy
        assert not (tmp_path / "out").exists()

    def test_a_file(self, model, tmp_path):
        with pytest.raises(ConfigError, match="names a file: the statistics are several"):
            moe_stats(model, tmp_path / "out.csv", config=CONFIG)

    def test_a_folder_with_something_else(self, model, tmp_path):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(ResultError, match=r"not of a run: mine\.txt"):
            moe_stats(model, tmp_path, config=CONFIG)

    def test_memory_that_holds_nothing(self, model, tmp_path):
        with pytest.raises(ConfigError, match=r"memory limit of 1\.0 MB cannot hold") as refused:
            moe_stats(model, tmp_path / "out", config=StatsConfig(memory_limit=1 << 20))
        assert "--exclude" not in refused.value.remedy


def test_a_second_run_of_other_settings_keeps_the_first(model, run):
    with pytest.raises(ResultError, match="holds a finished run"):
        moe_stats(model, run.folder, config=StatsConfig(workers=1, backend="numpy", seed=1))


def test_the_command_says_what_it_found(model, tmp_path):
    out = tmp_path / "out"
    result = invoke("moe", "stats", model, "--workers", "1", "--out", out, "--format", "parquet")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for text in (
        "42 experts in 3 layers",
        "next to nothing: 2 (layer 1 expert 11, layer 1 expert 12)",
        "copy an earlier one of their layer: 3 (layer 1 expert 3: as expert 1, layer 1 expert 4: "
        "as expert 2, layer 1 expert 5: as expert 0)",
        "merged from two others: 2 (layer 1 expert 8: 6 + 7, layer 1 expert 9: 6 + 10)",
        "more than twice as long as usual: 1 (layer 1 expert 13)",
        "The mixture was not run",
    ):
        assert text in said
    assert "never chooses" not in said
    assert (out / "experts.parquet").exists()
    assert load_file(out / MAPS).keys() == load_file(out.parent / "out" / MAPS).keys()
