"""Which tensors are counted, drawn and judged together."""

import pandas as pd
import pytest

from mlx_probe.analysis.kinds import kind_labels
from mlx_probe.report.run_data import group_labels

# Block type, name, rows, part, component, and the kind.
CASES = [
    ("q_proj", "layers.0.q_proj.weight", 8, None, "attention", "q_proj"),
    ("q_proj", "layers.0.q_proj.bias", None, None, "attention", "q_proj bias"),
    ("q_proj", "layers.0.q_proj.gain", None, None, "attention", "q_proj vector"),
    ("q_proj", "layers.0.qkv.weight", 8, "q_proj", "attention", "q_proj (part)"),
    ("q_proj", "vision.layers.0.q_proj.weight", 8, None, "vision", "vision q_proj"),
    ("q_proj", "vision.layers.0.q_proj.bias", None, None, "vision", "vision q_proj bias"),
    ("patch_embedding", "vision.patch.weight", 8, None, "vision", "patch_embedding"),
    ("norm", "layers.0.norm.weight", None, None, "norm", "norm"),
    ("norm", "layers.0.norm.bias", None, None, "norm", "norm bias"),
    ("gate_up_proj", "mlp.experts.gate_up_proj_bias", None, None, "moe", "gate_up_proj bias"),
    (None, "strange", 8, None, "other", "other"),
]
NAMES = ("block_type", "param_name", "rows", "part", "component")


@pytest.fixture
def columns():
    return dict(zip(NAMES, zip(*(case[:-1] for case in CASES), strict=True), strict=True))


def test_the_kind_of_each_row(columns):
    assert kind_labels(columns) == [case[-1] for case in CASES]


def test_a_table_of_a_run_gives_the_same_kinds(columns):
    frame = pd.DataFrame({name: list(values) for name, values in columns.items()})
    frame["rows"] = frame["rows"].astype("Int64")
    assert group_labels(frame) == kind_labels(columns)


def test_older_tables_lack_columns():
    assert kind_labels({"block_type": ["q_proj", None]}) == ["q_proj", "other"]


def test_rows_that_only_the_other_model_has_go_by_its_name():
    columns = {"block_type": ["q_proj"], "param_name": [None], "other_name": ["q_proj.bias"]}
    assert kind_labels(columns) == ["q_proj bias"]
