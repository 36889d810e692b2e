"""A run of a sample: interruptions, copies, tensors that nobody reads, and what is said of it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from models import Watcher, interrupt_after
from sampled_models import HIDDEN, arrays, model
from tinymodel import comparable
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.findings import RunView, findings_in
from mlx_probe.analysis.table_checks import validate_table
from mlx_probe.core.errors import Interrupted
from mlx_probe.metrics import METRICS
from mlx_probe.runs.load import read_table

CONFIG = AnalyzeConfig(backend="numpy", metrics="standard", sample="layers=every:4|experts=2")
MEASURED, ROWS = 41, 173


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return model(tmp_path_factory.mktemp("models") / "mixture", np.random.default_rng(0))


@pytest.fixture(scope="module")
def undisturbed(mixture, tmp_path_factory):
    return mlx_probe.analyze(mixture, out=tmp_path_factory.mktemp("run"), config=CONFIG)


def stored(folder, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors, "F32")
    return folder


def test_an_interrupted_sample_goes_on(mixture, undisturbed, tmp_path):
    one = replace(CONFIG, workers=1)
    with pytest.raises(Interrupted, match=rf" of {MEASURED} rows are saved"):
        mlx_probe.analyze(mixture, out=tmp_path, config=one, progress=interrupt_after(12))
    watcher = Watcher()
    run = mlx_probe.analyze(mixture, out=tmp_path, config=CONFIG, progress=watcher)
    assert len(watcher.resumed) == run.meta["resumed_rows"] >= 12
    assert len(watcher.started) == MEASURED - len(watcher.resumed)
    assert run.meta["sample"] == undisturbed.meta["sample"]
    pd.testing.assert_frame_equal(comparable(run.load()), comparable(undisturbed.load()))


@pytest.mark.parametrize("sample", ["", "layers=every:4|experts=3", "layers=every:3|experts=2"])
def test_another_sample_takes_no_row_over(mixture, tmp_path, sample, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = replace(CONFIG, workers=1)
    with pytest.raises(Interrupted):
        mlx_probe.analyze(mixture, config=one, progress=interrupt_after(12))
    run = mlx_probe.analyze(mixture, config=replace(CONFIG, sample=sample))
    assert run.passed
    assert run.meta["resumed_rows"] == 0


def test_the_log_has_no_line_for_what_is_left_out(undisturbed):
    (log,) = undisturbed.folder.glob("analyze_*.log")
    text = log.read_text("utf-8")
    assert text.count(": ok") > MEASURED - 1
    assert "model.layers.1." not in text
    assert f"sample {CONFIG.sample} with seed 0: {MEASURED} of {ROWS} rows" in text


def test_copies_are_looked_for_in_the_sample_only(tmp_path):
    tensors = arrays(np.random.default_rng(1), experts=0)
    name = "model.layers.{}.self_attn.q_proj.weight".format
    # Layer 0 is measured and layer 1 is not, layers 4 and 6 are: the third one copies the second.
    tensors[name(1)] = tensors[name(4)] = tensors[name(6)] = tensors[name(0)].copy()
    tensors[name(3)] = tensors[name(5)].copy()
    folder = stored(tmp_path / "copied", tensors)
    run = mlx_probe.analyze(folder, out=tmp_path / "out", config=replace(CONFIG, sample="layers=3"))
    assert run.passed
    rows = run.load().set_index("param_name")
    assert run.meta["sample"]["stacks"][0]["layers"] == [0, 3, 6]
    assert pd.isna(rows.loc[name(0), "alias_of"])
    # Its copy in layer 5 is not measured: nobody looked there.
    assert pd.isna(rows.loc[name(3), "alias_of"])
    assert rows.loc[name(6), "alias_of"] == name(0)
    for layer in (1, 4, 5):
        assert rows.loc[name(layer), "status"] == "unsampled"
        assert pd.isna(rows.loc[name(layer), "alias_of"])
    assert rows.loc[name(6), "rank"] == rows.loc[name(0), "rank"]


def test_an_original_outside_of_the_sample_leaves_its_copy_measured(tmp_path):
    tensors = arrays(np.random.default_rng(2), experts=0)
    name = "model.layers.{}.self_attn.q_proj.weight".format
    tensors[name(4)] = tensors[name(1)].copy()
    folder = stored(tmp_path / "copied", tensors)
    whole = mlx_probe.analyze(folder, out=tmp_path / "whole", config=replace(CONFIG, sample=""))
    part = replace(CONFIG, sample="layers=every:4")
    run = mlx_probe.analyze(folder, out=tmp_path / "part", config=part)
    row, copy = (r.load().set_index("param_name").loc[name(4)] for r in (run, whole))
    assert copy["alias_of"] == name(1)
    assert pd.isna(row["alias_of"])
    assert (row["status"], row["rank"], row["mean"]) == ("ok", copy["rank"], copy["mean"])


def test_what_the_sample_leaves_out_is_not_unread(tmp_path):
    rng = np.random.default_rng(4)
    tensors = {name: (x, "F32") for name, x in arrays(rng, experts=0).items()}
    for layer in range(7):
        base = f"model.layers.{layer}.self_attn.q_proj"
        del tensors[f"{base}.weight"]
        tensors[f"{base}.qcodes"] = rng.integers(0, 255, (HIDDEN, 8), np.uint8), "U8"
        tensors[f"{base}.magnitude"] = rng.standard_normal((HIDDEN, 1), np.float32), "F32"
    write_safetensors(tmp_path / "model.safetensors", tensors)
    run = mlx_probe.analyze(
        tmp_path, out=tmp_path / "out", config=replace(CONFIG, sample="layers=every:4")
    )
    # Two tensors of each of three layers, of nine in each and three outside.
    assert run.meta["unread"]["tensors"] == 6
    assert run.meta["unread"]["total"] == 3 * 9 + 3
    assert run.meta["rows_by_status"] == {"ok": 24, "skipped": 6, "unsampled": 36}


def test_a_layer_with_tensors_of_its_own_is_not_overlooked(tmp_path):
    tensors = arrays(np.random.default_rng(5), experts=0)
    tensors["model.layers.3.self_attn.surprise.weight"] = np.zeros((4, 4), np.float32)
    folder = stored(tmp_path / "odd", tensors)
    run = mlx_probe.analyze(
        folder, out=tmp_path / "out", config=replace(CONFIG, sample="layers=every:4")
    )
    assert run.meta["sample"]["stacks"][0]["layers"] == [0, 3, 4, 6]


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("rank", 3, "rank was not measured in 1 row"),
        ("status_reason", None, "no status_reason in 1 row"),
        ("status", "unsampeld", "unknown status in 1 row"),
    ],
)
def test_a_table_with_numbers_that_nobody_measured_is_not_valid(undisturbed, column, value, says):
    table, columns, _ = read_table(undisturbed.folder)
    assert all(check.passed for check in validate_table(table, columns, ROWS))
    row = table["status"].to_pylist().index("unsampled")
    values = table[column].to_pylist()
    values[row] = value
    at = table.column_names.index(column)
    wrong = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.types[at]))
    (failed,) = (check for check in validate_table(wrong, columns, ROWS) if not check.passed)
    assert failed.name == "status"
    assert says in failed.detail


def test_validation_knows_which_rows_a_sample_has(mixture, tmp_path):
    run = mlx_probe.analyze(mixture, out=tmp_path, config=CONFIG)
    meta = json.loads(run.meta_path.read_text("utf-8"))
    meta["configuration"]["seed"] = 5
    run.meta_path.write_text(json.dumps(meta), "utf-8")
    failed = [check for check in mlx_probe.validate(tmp_path) if not check.passed]
    assert [check.name for check in failed] == ["sample"]
    assert CONFIG.sample in failed[0].detail


def test_rules_and_summary_look_at_the_sample_alone(mixture, tmp_path):
    tensors = arrays(np.random.default_rng(6))
    # Of unlike shapes: one would be a copy of the other.
    for name in ("1.mlp.shared_experts.up_proj", "4.self_attn.k_proj"):
        tensors[f"model.layers.{name}.weight"][:] = 0
    folder = stored(tmp_path / "zeros", tensors)
    runs = {
        sample: mlx_probe.analyze(
            folder, out=tmp_path / f"out{i}", config=replace(CONFIG, sample=sample)
        )
        for i, sample in enumerate(("", CONFIG.sample))
    }
    found = {
        sample: {finding.rule: finding for finding in mlx_probe.findings(run)}
        for sample, run in runs.items()
    }
    assert len(found[""]["zeros"].rows) == 2
    zeros = found[CONFIG.sample]["zeros"]
    assert zeros.rows == ("model.layers.4.self_attn.k_proj.weight",)
    assert zeros.sentence.english == f"In the sample: {zeros.rows[0]} holds nothing but zeros."
    assert zeros.as_json() in runs[CONFIG.sample].meta["findings"]
    assert "unmeasured" not in found[CONFIG.sample]
    whole, part = (mlx_probe.summary(run) for run in runs.values())
    assert part["parameters"] == whole["parameters"]
    assert part["matrices"] < whole["matrices"]
    assert ("of_sample" in whole, part["of_sample"]) == (False, True)


def test_what_is_stored_too_wide_is_a_share_of_what_was_measured():
    columns = table_columns([metric.column for metric in METRICS])
    names = [column.name for column in columns]
    row = {"param_name": "a", "dtype": "F32", "value_dtype": "BF16", "nbytes": 4000, "std": 1.0}
    row |= {"rows": 10, "cols": 100, "numel": 1000, "status": "ok"}
    other = row | {"param_name": "b", "status": "unsampled", "std": None, "value_dtype": None}
    table = pa.table({name: [each.get(name) for each in (row, other)] for name in names})
    (wide,) = (f for f in findings_in(RunView(table, {}, {})) if f.rule == "wide_storage")
    assert wide.evidence["share"] == 0.5
    assert "50 % of what was measured" in wide.sentence.english
