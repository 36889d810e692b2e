"""Single rules on single tables, the order, and what a run says without its metadata."""

import json

import numpy as np
import pytest
from models import arrays, copied, edit_meta, invoke, refuses, tiny, whole  # noqa: F401
from project import ROOT
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe.analysis.findings import (
    FINDINGS,
    SEVERITIES,
    RunView,
    findings_in,
    findings_of,
)
from mlx_probe.analysis.findings.words import figure, percent, ranges
from mlx_probe.core.errors import ResultError
from mlx_probe.core.records import Column, Row
from mlx_probe.metrics import METRICS
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.table.schema import rows_to_table

TYPES = {metric.name: metric.type for metric in METRICS} | {
    "layer_index": "int64", "rows": "int64", "cols": "int64", "numel": "int64",
    "nbytes": "int64", "expert_index": "int64",
}  # fmt: skip
TEXTS = ("param_name", "block_type", "component", "dtype", "status", "status_reason", "part")


def view(rows, **meta):
    """A view of a table with these rows; what they do not say is null."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [Column(n, "string" if n in TEXTS else TYPES.get(n, "string"), "", "") for n in names]
    table = rows_to_table([Row(i, row) for i, row in enumerate(rows)], columns)
    return RunView(table, {}, meta)


def weight(layer, kind="q_proj", rows=64, cols=64, **numbers):
    name = f"model.layers.{layer}.{kind}.weight"
    return {
        "param_name": name, "layer_index": layer, "block_type": kind, "component": "attention",
        "rows": rows, "cols": cols, "numel": rows * cols, "nbytes": 4 * rows * cols,
        "dtype": "F32", "status": "ok", "rank": min(rows, cols), "std": 0.02,
    } | numbers  # fmt: skip


def bias(layer, **numbers):
    name = f"model.layers.{layer}.q_proj.bias"
    return {
        "param_name": name, "layer_index": layer, "block_type": "q_proj",
        "component": "attention", "numel": 64, "status": "ok", "std": 0.1,
    } | numbers  # fmt: skip


def rules(found):
    return [finding.rule for finding in found]


def test_weights_are_judged_against_weights_and_biases_against_biases():
    rows = [weight(n) for n in range(8)] + [bias(n) for n in range(8)]
    assert findings_in(view(rows)) == []
    # As large as the biases are, and as small as the weights are.
    rows[3]["std"], rows[12]["std"] = 0.1, 0.001
    (one, other) = findings_in(view(rows))
    assert one.rows == ("model.layers.3.q_proj.weight",)
    assert one.severity == "medium"
    assert "5 times the median of the 8 q_proj (0.02)" in one.sentence.english
    assert other.rows == ("model.layers.4.q_proj.bias",)
    assert other.severity == "note"


def test_alike_rows_make_one_finding_with_a_range():
    rows = [weight(n, rank=64 - 20 * (n > 4)) for n in range(10)]
    rows[7]["rank"] = 16
    (found,) = findings_in(view(rows))
    assert found.rule == "rank_lost"
    assert len(found.rows) == 5
    assert found.rows[0] == "model.layers.7.q_proj.weight"
    assert found.evidence["share_lost"] == [20 / 64, 48 / 64]
    assert found.sentence.english.startswith("5 matrices have lost rank; model.layers.7.q_proj")


def test_the_most_severe_come_first_then_the_largest():
    rows = [weight(n) for n in range(8)]
    rows[0] |= {"rank": 63}
    rows[1] |= {"nan_count": 2, "inf_count": 0, "status": "nonfinite", "rank": None}
    rows[2] |= {"std": 2.0}
    found = findings_in(view(rows))
    assert rules(found) == ["nonfinite", "outlier_layers", "rank_lost"]
    order = [(SEVERITIES.index(f.severity), -f.size) for f in found]
    assert order == sorted(order)


def test_dead_channels_explain_a_lost_rank():
    rows = [weight(n, dead_rows=0, dead_columns=0) for n in range(6)]
    rows[2] |= {"rank": 60, "dead_rows": 4}
    assert rules(findings_in(view(rows))) == ["dead_channels"]
    rows[2] |= {"rank": 59}
    assert sorted(rules(findings_in(view(rows)))) == ["dead_channels", "rank_lost"]


def test_overfitted_only_by_reliable_alpha_and_its_whole_interval():
    def alpha(**numbers):
        row = weight(0, alpha=1.5, alpha_stderr=0.1, alpha_tail_count=40, **numbers)
        return rules(findings_in(view([row])))

    assert alpha(alpha_reliable=True, alpha_low=1.4, alpha_high=1.8) == ["overfitted"]
    assert alpha(alpha_reliable=True, alpha_low=1.4, alpha_high=2.2) == []
    assert alpha(alpha_reliable=False, alpha_low=1.4, alpha_high=1.8) == []
    # A run of the standard set has no interval, and the standard error is no substitute.
    assert alpha(alpha_reliable=True) == []


def test_zeros_as_many_as_rows_have_are_dead_tokens():
    table = weight(None, "embedding", 300, 64) | {"component": "embedding"}
    table |= {"zero_fraction": 12 / 300}
    assert rules(findings_in(view([table]))) == ["dead_tokens"]
    table["zero_fraction"] = 12.5 / 300
    assert findings_in(view([table])) == []
    # The channels themselves are the better witness.
    table |= {"dead_rows": 7, "dead_columns": 0}
    (found,) = findings_in(view([table]))
    assert found.evidence["dead"] == 7


def test_a_norm_of_zeros_is_neutral_where_the_model_adds_one():
    rows = [
        {
            "param_name": f"model.layers.{n}.norm.weight", "layer_index": n, "block_type": "norm",
            "component": "norm", "numel": 64, "status": "ok", "mean": 0.1 * n, "min": 0.0,
            "max": 0.2 * n, "rms": 0.1 * n, "q50": 0.1 * n,
        }
        for n in range(6)
    ]  # fmt: skip
    (found,) = findings_in(view(rows))
    assert (found.rule, found.severity) == ("constant_norms", "high")
    gemma = {"architecture": {"model_type": "gemma2"}}
    (found,) = findings_in(view(rows, model=gemma))
    assert (found.rule, found.severity) == ("constant_norms", "medium")


def test_packed_and_narrow_weights_are_not_called_wide():
    def wide(**numbers):
        return rules(findings_in(view([weight(0, **numbers)])))

    assert wide(dtype="F32", value_dtype="BF16") == ["wide_storage"]
    assert wide(dtype="BF16", value_dtype="BF16") == []
    assert wide(dtype="Q4_1", value_dtype="F32") == []
    assert wide(dtype="F32", value_dtype=None) == []
    # Of the same width, though another format.
    assert wide(dtype="BF16", value_dtype="F16") == []


def test_a_run_holds_its_findings_in_english(whole, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MLX_PROBE_LANG", "zh")
    stored = read_meta(whole.meta_path)["findings"]
    assert stored == [finding.as_json() for finding in findings_of(whole.folder)]
    assert {"nonfinite", "zeros"} <= {entry["rule"] for entry in stored}
    assert set(stored[0]) == {"rule", "severity", "sentence", "rows", "evidence", "remedy"}
    # In memory and from the disk alike.
    assert findings_of(whole) == findings_of(whole.folder)


def test_an_older_run_has_them_computed(copied):  # noqa: F811
    before = findings_of(copied)
    edit_meta(copied, lambda meta: [meta.pop(key) for key in ("findings", "summary")])
    assert findings_of(copied) == before != []


def test_the_old_run_of_the_repository_has_findings():
    found = findings_of(ROOT / "tests" / "data" / "old_run" / "run")
    assert all(finding.rule in FINDINGS for finding in found)


def test_a_damaged_run_says_so(copied):  # noqa: F811
    for table in copied.glob("params.*"):
        table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(ResultError, match="params"):
        findings_of(copied)


def test_a_comparison_has_none(tiny, tmp_path):  # noqa: F811
    run = mlx_probe.compare(tiny, tiny, out=tmp_path / "compared")
    with pytest.raises(ResultError, match="findings are about one model"):
        findings_of(run.folder)
    refuses(invoke("findings", run.folder), "findings are about one model")


def test_the_command_prints_sentences_or_the_list(whole):  # noqa: F811
    result = invoke("findings", whole.folder)
    assert result.exit_code == 0
    assert "is not finite in 2 of its 64 values, 1 of them NaN" in " ".join(result.output.split())
    listed = json.loads(invoke("findings", whole.folder, "--json").output)
    assert listed == read_meta(whole.meta_path)["findings"]


def test_a_clean_model_says_so(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"norm.weight": np.arange(1.0, 9.0)}, "F64")
    run = mlx_probe.analyze(tmp_path, out=tmp_path / "out")
    result = invoke("findings", run.folder)
    assert result.output.split("\n")[1].strip() == (
        f"Nothing unusual: none of the {len(FINDINGS)} rules names a tensor."
    )
    assert json.loads(invoke("findings", run.folder, "--json").output) == []


def test_numbers_in_sentences():
    assert [figure(x) for x in (0.02131, 8.4, 1240.4, 3e9)] == [
        "0.0213",
        "8.4",
        "1,240",
        "3.00e+09",
    ]
    assert [percent(x) for x in (0.25, 0.003, 1.0, 0.996)] == ["25 %", "0.3 %", "100 %", "100 %"]
    assert ranges([3, 4, 5, 0, 9, float("nan")]) == "0, 3-5, 9"


@pytest.mark.parametrize("rule", FINDINGS.values(), ids=FINDINGS)
def test_a_rule_is_described(rule):
    assert rule.title[0].isupper()
    assert rule.about[0].islower() or rule.about[0].isdigit() or rule.about.startswith("alpha")
    assert rule.source
