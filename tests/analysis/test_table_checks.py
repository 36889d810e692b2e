import math
import re

import pyarrow as pa
import pytest

from mlx_probe.analysis.table_checks import validate_table
from mlx_probe.core.records import Row
from mlx_probe.runs.table.schema import rows_to_table


def failures(checks):
    return {check.name: check.detail for check in checks if not check.passed}


def test_a_sound_table_passes_every_check(table, columns):
    names = table["param_name"].to_pylist()
    checks = validate_table(table, columns, table.num_rows, names)
    assert failures(checks) == {}
    assert len(checks) == 10


def test_an_empty_table_passes(columns):
    assert failures(validate_table(rows_to_table([], columns), columns, 0)) == {}


def test_number_of_rows(table, columns):
    assert failures(validate_table(table, columns, 6)) == {"number of rows": "5 rows instead of 6"}


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (lambda table: table.drop_columns(["rank"]), "missing: ['rank'], unknown: []"),
        (lambda table: table.rename_columns(["x", *table.column_names[1:]]), "unknown: ['x']"),
        (lambda table: table.select(table.column_names[::-1]), "wrong order"),
        (
            lambda table: table.set_column(
                table.column_names.index("rank"), "rank", table["rank"].cast(pa.float64())
            ),
            "rank is double instead of int64",
        ),
    ],
)
def test_columns_and_types(table, columns, spoil, detail):
    checks = validate_table(spoil(table), columns, None)
    assert list(failures(checks)) == ["columns"]
    assert detail in checks[1].detail
    assert len(checks) == 2


Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("row", "change", "check", "problem"),
    [
        (0, {"model_id": None}, "required values", "model_id is missing"),
        (0, {"shape": None}, "required values", "shape is missing"),
        (0, {"status": None}, "required values", "status is missing"),
        (4, {"expert_index": 0}, "unique rows", "the same tensor, expert and part"),
        (0, {"sparsity": 1.5}, "ranges", "sparsity > 1"),
        (0, {"sparsity": -0.5}, "ranges", "sparsity < 0"),
        (0, {"layer_index": -1}, "ranges", "layer_index < 0"),
        (0, {"condition_number": 0.5}, "ranges", "condition_number < 1"),
        (0, {"rank": 5}, "ranks", r"rank > min\(rows, cols\)"),
        (0, {"effective_rank": 4.1}, "ranks", r"effective_rank > min\(rows, cols\)"),
        (0, {"q01": 0.1}, "order of moments", "q01 > q50"),
        (0, {"q50": 0.4}, "order of moments", "q50 > q99"),
        (0, {"min": 0.1}, "order of moments", "min > mean"),
        (0, {"max": -0.1}, "order of moments", "mean > max"),
        (0, {"std": 0.26}, "std and var", r"std\*\*2 != var"),
        (1, {"std": 0.1}, "std and var", r"std\*\*2 != var"),
        (0, {"status": "fine", "status_reason": "x"}, "status", "unknown status"),
        (0, {"status": "failed"}, "status", "no status_reason"),
        (0, {"status": "failed", "status_reason": ""}, "status", "no status_reason"),
        (3, {"expert_index": 2}, "file order", "experts apart or not ascending"),
    ],
)
def test_each_check_can_fail(rows, columns, row, change, check, problem):
    values = [dict(other.values) for other in rows]
    values[row].update(change)
    table = rows_to_table([Row(index, value) for index, value in enumerate(values)], columns)
    failed = failures(validate_table(table, columns, 5))
    assert list(failed) == [check]
    assert re.match(rf"{problem} in \d rows?: ", failed[check])


def test_details_name_the_first_offending_rows(rows, columns):
    values = [{**rows[0].values, "param_name": f"w{index}", "rank": 9} for index in range(5)]
    table = rows_to_table([Row(index, value) for index, value in enumerate(values)], columns)
    assert failures(validate_table(table, columns, 5)) == {
        "ranks": "rank > min(rows, cols) in 5 rows: w0 (row 0), w1 (row 1), w2 (row 2)"
    }


def test_nan_is_out_of_range(table, columns):
    place = table.column_names.index("mean")
    nans = pa.array([math.nan, 1.0, None, None, None])
    spoiled = table.set_column(place, table.schema.field("mean"), nans)
    assert failures(validate_table(spoiled, columns, 5)) == {
        "ranges": f"mean is NaN in 1 row: {Q_PROJ} (row 0)"
    }


def test_rounding_is_not_a_failure(rows, columns):
    one = math.nextafter(1.0, 2.0)
    change = {"mean": one, "min": 1.0, "max": 1.0, "effective_rank": 4 * one}
    change |= {"std": 0.1, "var": 0.1**2, "q01": 1.0, "q50": 1.0, "q99": 1.0}
    table = rows_to_table([Row(0, {**rows[0].values, **change})], columns)
    assert failures(validate_table(table, columns, 1)) == {}


def test_infinite_moments_are_not_a_failure(rows, columns):
    change = {"std": math.inf, "var": math.inf, "min": -1e300, "max": 1e300}
    table = rows_to_table([Row(0, {**rows[0].values, **change})], columns)
    assert failures(validate_table(table, columns, 1)) == {}


def test_file_order_against_the_file(table, columns):
    names = table["param_name"].to_pylist()
    names[:2] = names[1::-1]
    failed = failures(validate_table(table, columns, 5, names))
    assert failed == {
        "file order": "not the tensor of this row of the file in 2 rows: "
        f"{Q_PROJ} (row 0), model.norm.weight (row 1)"
    }


def test_experts_of_one_tensor_stay_together(table, columns):
    shuffled = table.take([3, 0, 1, 2, 4])
    assert list(failures(validate_table(shuffled, columns, 5))) == ["file order"]
