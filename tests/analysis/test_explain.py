"""What `explain` says of a column, and where a run's values lie."""

import json

import numpy as np
import pytest
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe.analysis.explain import explain, explain_all
from mlx_probe.analysis.families import family_title
from mlx_probe.analysis.positions import positions_in
from mlx_probe.analysis.tables import column_title, columns_by_table
from mlx_probe.analysis.typical import number_text, spreads_of
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.language import speaking


def test_a_name_is_explained_once_for_each_table():
    tables = [each.table for each in explain("rank")]
    assert tables == ["params", "heads"]
    tables = [each.table for each in explain("block_type")]
    assert tables == ["params", "experts", "compare", "adapter", "tokens"]


def test_an_explanation_is_what_the_column_declares():
    (alpha,) = explain("alpha")
    assert alpha.title == "Power-law exponent"
    assert alpha.metric_set == "standard"
    assert (alpha.lower, alpha.upper) == (1, None)
    assert set(alpha.ranges) == {"smollm2", "minilm", "gaussian"}
    assert json.loads(json.dumps(alpha.as_json()))["ranges"]["smollm2"]["median"] == 5.5


@pytest.mark.parametrize("text", ["stable rank", "Stable Rank", "stable-rank", " stable_rank "])
def test_a_title_names_its_column(text):
    assert {each.name for each in explain(text)} == {"stable_rank"}


@pytest.mark.parametrize(
    ("name", "near"), [("alpa", "alpha"), ("energy", "energy_rank_99"), ("efective rank", "effe")]
)
def test_an_unknown_name_gets_near_ones(name, near):
    with pytest.raises(ConfigError, match=f"called {name}") as refused:
        explain(name)
    assert near in refused.value.remedy


def test_a_name_like_no_other_is_refused_too():
    with pytest.raises(ConfigError, match="lists all columns"):
        explain("xyzzy")


def test_every_column_is_explained():
    count = sum(map(len, columns_by_table().values()))
    explanations = list(explain_all())
    assert len(explanations) == count
    assert all(each.as_json()["plain"] for each in explanations)


def test_texts_are_in_the_readers_language():
    with speaking("zh"):
        (alpha,) = explain("alpha")
        assert column_title("stable_rank") == "稳定秩"
        assert family_title("heavy_tail") == "重尾"
    assert (alpha.title, alpha.family) == ("幂律指数", "重尾")
    assert column_title("stable_rank") == "Stable rank"
    assert column_title("a column of somebody else") == "a column of somebody else"
    assert family_title("cpu") == "CPU"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0963, "0.096"), (0.9951, "0.995"), (155.6, "160"), (24004, "24,000"), (-3.2e-10,
     "-3.2e-10"), (1.0, "1"), (float("inf"), "inf")],
)  # fmt: skip
def test_numbers_have_two_digits(value, text):
    assert number_text(value) == text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four matrices, of which one has a single direction, and a vector."""
    folder = tmp_path_factory.mktemp("positions")
    rng = np.random.default_rng(0)
    arrays = {
        f"model.layers.{layer}.mlp.up_proj.weight": rng.standard_normal((48, 32), np.float32)
        for layer in range(4)
    }
    arrays["model.layers.2.mlp.up_proj.weight"] = np.ones((48, 32), np.float32)
    arrays["model.layers.0.input_layernorm.weight"] = 1000 * np.ones(32, np.float32)
    write_safetensors(folder / "model.safetensors", arrays)
    return mlx_probe.analyze(str(folder), out=folder / "out").folder


def test_values_of_a_run_lie_beside_the_typical_range(run):
    (position,) = positions_in(run, "stable_rank")
    assert (position.table, position.count, position.divided_by) == ("params", 4, "short_side")
    assert position.least == pytest.approx(1 / 32)
    measured = spreads_of("params", "stable_rank")
    assert position.typical_low == min(measured[name].low for name in ("smollm2", "minilm"))
    assert position.typical_high == max(measured[name].high for name in ("smollm2", "minilm"))
    assert position.outside == ()


def test_the_farthest_row_leads(run):
    (position,) = positions_in(run, "rms")
    distances = [each.value - position.typical_high for each in position.outside]
    assert distances == sorted(distances, reverse=True)
    assert len(distances) == position.count == 4
    assert position.outside[0].row.startswith("model.layers.")


def test_what_cannot_be_divided_has_no_place(run):
    """The vector is no matrix, and a constant matrix has no std to divide by."""
    (position,) = positions_in(run, "max")
    assert (position.count, position.divided_by) == (3, "std")


def test_texts_are_counted(run):
    (position,) = positions_in(run, "block_type")
    assert position.counts == {"up_proj": 4, "norm": 1}
    assert position.values is None


def test_truth_values_have_a_share(run):
    (position,) = positions_in(run, "alpha_reliable")
    assert position.values is not None
    assert 0 <= position.values.median <= 1
    assert position.outside == ()


def test_columns_that_describe_have_no_typical_range(run):
    (position,) = positions_in(run, "rows")
    assert (position.count, position.least, position.typical_low) == (4, 48, None)


def test_a_run_without_the_column_is_refused(run):
    with pytest.raises(ResultError, match="no table of the run has the column q4_nrmse"):
        positions_in(run, "q4_nrmse")
