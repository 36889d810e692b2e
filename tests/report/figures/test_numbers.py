"""The numbers of figures are those of the tables."""

import csv
import json
import math
import re
from dataclasses import replace
from statistics import median

import numpy as np
import pandas as pd
import pytest
from project import ROOT

import mlx_probe
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import Column
from mlx_probe.report.figures import VIEWS, WIDTHS, plot, width_of
from mlx_probe.report.figures.style import COLORS
from mlx_probe.report.run_data import RunData

Q = "model.layers.0.self_attn.q_proj.weight"
EXPERTS = "model.layers.0.mlp.experts.down_proj"


def some(**columns):
    """A run of a few rows; None is null."""
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame(
        {
            "param_name": [f"w{row}" for row in range(count)],
            "layer_index": range(count),
            "block_type": ["q_proj"] * count,
            **columns,
        }
    )
    known = tuple(Column(name, "float64", "moments", "", "weight") for name in frame.columns)
    return RunData(frame, known, {"model": {"id": "some"}})


@pytest.mark.parametrize("view", [name for name in VIEWS if name not in ("spectrum", "steps")])
def test_each_number_is_the_tables(whole, view):
    table = whole.load().dropna(subset=["stable_rank"])
    own = {
        (name if pd.isna(expert) else f"{name}[{expert}]"): value
        for name, expert, value in zip(
            table.param_name, table.expert_index, table.stable_rank, strict=True
        )
    }
    records = plot(whole, "stable_rank", view=view).records()
    assert records
    for record in records:
        if record["count"] == 1:
            assert record["value"] == own[record["tensor"]]
        else:
            members = [value for name, value in own.items() if name.startswith(EXPERTS)]
            assert record["value"] == median(members)
            assert (record["low"], record["high"]) == (min(members), max(members))
            assert record["count"] == len(members) == 3
    inside = {record["layer"] for record in records} - {None}
    assert inside == set(table.layer_index.dropna())
    drawn = len(table) if view == "distribution" else len(table) - 2
    # Lines have no place for what is outside the layers.
    outside = table.layer_index.isna().sum() if view == "lines" else 0
    assert len(records) == drawn - outside


def test_json_and_csv_hold_them(whole, tmp_path):
    made = plot(whole, "stable_rank", view="map")
    described = json.loads(json.dumps(made.describe(), allow_nan=False))
    assert described["points"] == made.records()
    assert (described["view"], described["metric"]) == ("map", "stable_rank")
    with made.save(tmp_path / "new" / "a.CSV").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [r["value"] for r in made.records()]
    assert made.frame()["value"].tolist() == [r["value"] for r in made.records()]


def test_a_spectrum_is_that_of_the_run(whole):
    records = plot(whole, tensor=Q).records()
    spectra = mlx_probe.load_spectra(whole.folder)
    sigma = spectra.set_index("param_name").singular_values[Q]
    values = [record["value"] for record in records if record["kind"] == "values"]
    assert values == list(sigma)
    row = whole.load().set_index("param_name").loc[Q]
    (edge, again) = [record["value"] for record in records if record["kind"] == "edge"]
    assert edge == again == row.mp_edge
    noise = [record["value"] for record in records if record["kind"] == "noise"]
    assert np.median(noise) == pytest.approx(np.median(sigma), rel=0.05)
    first, last = [record for record in records if record["kind"] == "tail"]
    assert (first["rank"], last["rank"]) == (1, row.alpha_tail_count)
    assert first["alpha"] == row.alpha
    assert last["value"] == pytest.approx(math.sqrt(row.alpha_xmin))
    # The law: the share of eigenvalues above lambda falls as lambda^(1 - alpha).
    ratio = (first["value"] / last["value"]) ** 2
    assert ratio ** (row.alpha - 1) == pytest.approx(row.alpha_tail_count)
    assert first["reliable"] == bool(row.alpha_reliable)


def test_runs_lie_on_each_other_by_relative_depth():
    short, long = some(std=[1.0, 2.0, 3.0]), some(std=[1.0, 2.0, 3.0, 4.0, 5.0])
    made = plot([short, long], "std")
    depths = [(record["run"], record["depth"]) for record in made.records()]
    assert [depth for run, depth in depths if run == "some"] == [0, 0.5, 1]
    assert [depth for run, depth in depths if run == "some #2"] == [0, 0.25, 0.5, 0.75, 1]


def test_a_tower_has_a_depth_of_its_own():
    made = plot(
        some(
            std=[1.0, 2.0, 3.0, 4.0],
            layer_index=[0, 10, 0, 2],
            component=["attention", "attention", "vision", "vision"],
        ),
        "std",
    )
    assert {r["group"]: r["depth"] for r in made.records()} == {"q_proj": 1, "vision q_proj": 1}


def test_a_place_is_reliable_if_half_of_its_fits_are():
    data = some(
        alpha=[2.0, 3.0, 4.0, 5.0, 6.0],
        alpha_reliable=[True, False, False, False, True],
        layer_index=[0, 0, 1, 1, 1],
        expert_index=[0, 1, 0, 1, 2],
    )
    records = plot(data, "alpha").records()
    assert [record["reliable"] for record in records] == [True, False]
    each = plot(data, "alpha", view="distribution").records()
    assert [r["reliable"] for r in each] == [True, False, False, False, True]
    assert {record["reliable"] for record in plot(data, "alpha_reliable").records()} == {None}


def test_rows_without_a_number_are_left_out():
    made = plot(some(std=[1.0, None, np.inf, 4.0]), "std")
    assert [record["layer"] for record in made.records()] == [0, 3]


def test_a_column_of_a_larger_metric_set_names_the_set():
    data = some(std=[1.0, 2.0])
    basic = replace(data, meta={**data.meta, "configuration": {"metrics": "basic"}})
    with pytest.raises(ConfigError, match="--metrics standard, or choose"):
        plot(basic, "alpha")
    with pytest.raises(ConfigError, match="--metrics full, or choose"):
        plot(basic, "alpha_low")
    with pytest.raises(ConfigError, match="Did you mean std"):
        plot(basic, "sdt")


def test_only_some_groups():
    data = some(std=[1.0, 2.0, 3.0], block_type=["q_proj", "k_proj", "norm"])
    groups = [r["group"] for r in plot(data, "std", only="*_proj").records()]
    assert groups == ["q_proj", "k_proj"]
    with pytest.raises(ConfigError, match="q_proj, k_proj, norm"):
        plot(data, "std", only="v_proj")


def test_the_scale_is_logarithmic_where_the_page_has_it_so():
    assert plot(some(std=[1.0, 200.0]), "std").content.log
    assert not plot(some(std=[1.0, 20.0]), "std").content.log
    assert not plot(some(std=[1.0, 200.0]), "std", log=False).content.log
    # By what is drawn: lines leave out what is outside the layers.
    outside = some(std=[1.0, 2.0, 999.0], layer_index=[0, 1, None])
    assert not plot(outside, "std").content.log
    assert plot(outside, "std", view="map").content.log
    with pytest.raises(ConfigError, match="not positive"):
        plot(some(std=[0.0, 200.0]), "std", log=True)


def test_experts_are_rows_of_a_map(whole):
    made = plot(whole, "norm_ratio", table="experts", view="map")
    side = mlx_probe.load_side_table(whole.folder, "experts")
    assert [r["value"] for r in made.records()] == side.norm_ratio.tolist()
    assert [r["group"] for r in made.records()] == [str(n) for n in side.expert_index]
    assert made.content.rows_are == "expert_index"


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (["stable_rnk"], {}, "Did you mean stable_rank"),
        ([], {}, "needs a metric"),
        (["std"], {"view": "pie"}, "no view 'pie'"),
        ([], {"view": "spectrum"}, "that of a tensor"),
        (["std"], {"tensor": Q}, "one too many"),
        (["std"], {"tensor": Q, "view": "map"}, "draws all tensors"),
        ([], {"tensor": Q.replace("weight", "wait")}, f"Did you mean {Q}"),
        ([], {"tensor": "q_proj"}, f"Did you mean {Q}"),
        ([], {"tensor": "model.layers.0.input_layernorm.weight"}, "kept no singular values"),
        (["std"], {"width": "wide"}, "is no width"),
        (["std"], {"width": 100}, "cannot be 100 inches"),
        (["std"], {"width": "nan"}, "is no width"),
        (["nearest_cosine"], {"table": "neurons"}, "it has params, heads, experts"),
    ],
)
def test_what_cannot_be_drawn_is_refused(whole, arguments, settings, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        plot(whole, *arguments, **settings)


def test_lines_that_cannot_be_told_apart_are_refused():
    data = some(std=[1.0] * 40, block_type=[f"kind{n}" for n in range(40)])
    with pytest.raises(ConfigError, match="40 lines"):
        plot(data, "std")
    assert plot(data, "std", view="map").records()


def test_widths():
    assert width_of("column") == WIDTHS["column"]
    assert width_of("8.5cm") == pytest.approx(width_of("85mm")) == pytest.approx(8.5 / 2.54)
    assert width_of("3.3in") == width_of("3.3") == width_of(3.3) == 3.3


def test_the_colours_are_the_pages():
    script = (ROOT / "mlx_probe/report/html/theme.js").read_text("utf-8")
    (listed,) = re.findall(r"const LINES = \[(.*?)\]", script)
    assert tuple(json.loads(f"[{listed}]")) == COLORS
