"""`validate_run` and the spot check find what is wrong, and only that."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from models import edit_meta, forge

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis import spotcheck
from mlx_probe.analysis.selection import select_weights
from mlx_probe.analysis.spotcheck import SPOT_CHECKS, spot_check
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.errors import ResultError
from mlx_probe.core.records import METRIC_LEVELS
from mlx_probe.runs.load import read_table
from mlx_probe.runs.table import WRITERS
from mlx_probe.runs.table.arrays import to_array

Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
GATE = "model.layers.0.mlp.gate_proj.weight"


def failures(folder, recompute=True):
    return {
        check.name: check.detail for check in validate_run(folder, recompute) if not check.passed
    }


def complaints(folder):
    """What is wrong with the files, whether the table can still be read or not."""
    try:
        return " ".join(failures(folder, recompute=False))
    except ResultError as error:
        return error.fact


def with_value(name, column, value):
    """An edit of a table: one value of one row."""

    def edit(table):
        values = table[column].to_pylist()
        values[table["param_name"].to_pylist().index(name)] = value
        field = table.schema.field(column)
        return table.set_column(
            table.column_names.index(column), field, pa.array(values, field.type)
        )

    return edit


def test_a_good_run_passes(copied):
    assert failures(copied) == {}
    for name in WRITERS:
        assert failures(copied / f"params.{name}") == {}


FORGERIES = {
    "sparsity above 1": (with_value(GATE, "sparsity", 1.5), "ranges"),
    "negative var": (with_value(GATE, "var", -1.0), "ranges"),
    "rank above the short side": (with_value(GATE, "rank", 33), "ranks"),
    "std is not the root of var": (with_value(GATE, "std", 7.0), "std and var"),
    "mean above max": (with_value(GATE, "mean", 1e9), "order of moments"),
    "quantiles cross": (with_value(GATE, "q01", 1e9), "order of moments"),
    "unknown status": (with_value(GATE, "status", "fine"), "status"),
    "no reason": (with_value("scalar", "status_reason", None), "status"),
    "failed": (with_value(GATE, "status", "failed"), "factorizations"),
    "a row less": (lambda table: table.slice(0, table.num_rows - 1), "number of rows"),
    "a row twice": (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "unique rows"),
    "experts the wrong way round": (
        lambda table: table.take(pa.array([0, 1, 2, 3, 6, 5, 4, *range(7, 17)])),
        "file order",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_an_impossible_table_fails_its_check(copied, forgery):
    edit, check = FORGERIES[forgery]
    assert check in failures(forge(copied, edit), recompute=False)


@pytest.mark.parametrize("name", WRITERS)
def test_a_changed_byte_of_any_format_is_noticed(copied, name):
    path = copied / f"params.{name}"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] = ord("1") if content[middle] != ord("1") else ord("2")
    path.write_bytes(content)
    assert path.name in complaints(copied)


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_table_is_noticed(copied, name):
    (copied / f"params.{name}").unlink()
    assert f"params.{name}" in complaints(copied)


@pytest.mark.parametrize("missing", ["rows_by_status", "configuration", "model"])
def test_metadata_without_what_a_check_needs_is_refused(copied, missing):
    edit_meta(copied, lambda meta: meta.pop(missing))
    with pytest.raises(ResultError, match=missing) as refusal:
        validate_run(copied)
    assert "Analyze the model again" in refusal.value.remedy


@pytest.mark.parametrize(
    "edit",
    [
        lambda meta: meta["configuration"].update(depth=3),
        lambda meta: meta.update(configuration="none"),
        lambda meta: meta["model"].pop("weights"),
        lambda meta: meta.update(rows_by_status=[1, "x"]),
    ],
    ids=["new setting", "no settings", "no weights", "no counts"],
)
def test_metadata_of_another_version_is_refused(copied, edit):
    edit_meta(copied, edit)
    with pytest.raises(ResultError, match=r"run_meta\.json"):
        validate_run(copied)


def test_a_model_that_is_gone_can_be_left_out(model, tmp_path):
    mlx_probe.analyze(model, out=tmp_path / "out", config=AnalyzeConfig(backend="numpy"))
    (model / "model.safetensors").unlink()
    with pytest.raises(ResultError, match="cannot be read again") as refusal:
        validate_run(tmp_path / "out")
    assert "--no-recompute" in refusal.value.remedy
    assert failures(tmp_path / "out", recompute=False) == {}


def test_other_tensors_under_the_same_path_are_noticed(copied):
    edit_meta(copied, lambda meta: meta["configuration"].update(exclude=["mask"]))
    with pytest.raises(ResultError, match="no longer holds the tensors of this run"):
        validate_run(copied)


@pytest.fixture(scope="module")
def measured(tiny, whole):
    """The weights and the table of the finished run."""
    with mlx_probe.open_checkpoint(tiny) as checkpoint:
        yield select_weights(checkpoint.weights(), (), ()), read_table(whole.meta_path)[0]


def checks_of(measured, name, config=None, **values):
    """The spot check of one row with some of its values replaced."""
    weights, table = measured
    config = config or AnalyzeConfig(metrics="full")
    i = table["param_name"].to_pylist().index(name)
    row = {**table.take([i]).to_pylist()[0], **values}
    columns = [to_array([row[field.name]], field.type) for field in table.schema]
    changed = pa.Table.from_arrays(columns, schema=table.schema)
    (check,) = spot_check([weights[i]], changed, config)
    return check


WRONG = {
    "mean": lambda x: x + 1e-4,
    "std": lambda x: x * 1.0001,
    "var": lambda x: x * 1.0001,
    "min": lambda x: x * 1.0001,
    "max": lambda x: x * 0.9999,
    "sparsity": lambda x: x + 1 / 4096,
    "rank": lambda x: x - 1,
    "spectral_norm": lambda x: x * 1.0001,
    "nuclear_norm": lambda x: x * 0.9999,
}


@pytest.mark.parametrize("change", ["wrong", "null", "nan"])
@pytest.mark.parametrize("column", WRONG)
def test_the_spot_check_finds_a_wrong_value_in_each_column(measured, column, change):
    right = next(row for row in measured[1].to_pylist() if row["param_name"] == Q_PROJ)[column]
    value = {"wrong": WRONG[column](right), "null": None, "nan": float("nan")}[change]
    check = checks_of(measured, Q_PROJ, **{column: value})
    assert not check.passed
    assert check.detail.startswith(f"{column} is ")
    assert ";" not in check.detail


@pytest.mark.parametrize("name", [Q_PROJ, GATE, "mask", "model.norm.weight", "lm_head.weight"])
def test_the_spot_check_passes_what_is_right(measured, name):
    check = checks_of(measured, name)
    assert check.passed, check.detail


def test_a_matrix_too_large_to_decompose_has_its_sums_checked(measured, monkeypatch):
    monkeypatch.setattr(spotcheck, "SVD_ELEMENTS", 10)
    check = checks_of(measured, Q_PROJ)
    assert check.passed
    assert "frobenius_norm" in check.detail
    assert "rank" not in check.detail
    check = checks_of(measured, Q_PROJ, frobenius_norm=1.0)
    assert check.detail.startswith("frobenius_norm is 1.0, recomputed ")


@pytest.mark.parametrize("level", METRIC_LEVELS)
def test_only_columns_of_the_level_are_checked(measured, level):
    detail = checks_of(measured, Q_PROJ, AnalyzeConfig(metrics=level)).detail
    assert ("spectral_norm" in detail) == (level != "basic")
    assert "rank" in detail


def test_the_seed_chooses_the_rows(measured):
    def chosen(seed):
        checks = spot_check(*measured, AnalyzeConfig(metrics="full", seed=seed))
        assert len(checks) == SPOT_CHECKS
        return [check.name for check in checks]

    assert chosen(1) == chosen(1)
    assert len({tuple(chosen(seed)) for seed in range(5)}) > 1


def test_the_spot_check_uses_the_settings_of_the_run(measured):
    assert not checks_of(measured, Q_PROJ, AnalyzeConfig(zero_epsilon=0.5)).passed
    assert not checks_of(measured, Q_PROJ, AnalyzeConfig(rank_tol=0.5)).passed


def test_a_forged_value_everywhere_fails_the_validation(copied):
    def edit(table):
        i = table.column_names.index("sparsity")
        half = pc.add(pc.multiply(table["sparsity"], 0.5), 0.25)
        return table.set_column(i, table.schema.field(i), half)

    failed = failures(forge(copied, edit))
    assert len(failed) == SPOT_CHECKS
    assert all(name.startswith("spot check of") for name in failed)
    assert all(detail.startswith("sparsity is ") for detail in failed.values())
