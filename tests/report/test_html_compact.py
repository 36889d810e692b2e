"""Columns of large tables come back from their compact form, and take as few bytes as promised."""

import numpy as np
import pandas as pd
import pytest
from html_pages import codes, levels_of, numbers, rounded, texts

from mlx_probe.report.html import compact
from mlx_probe.report.html.compact import encode_codes, encode_few, encode_rounded, encode_texts
from mlx_probe.report.html.encoding import encode_frame, script_json


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([], "in_order"),
        ([0, 1, 2], "in_order"),
        ([-1, -1], "same"),
        ([0], "same"),
        ([1, 0, -1, 127], "i1"),
        ([1, 0, -1, 128], "i2"),
        ([1, 0, -1, 32768], "i4"),
    ],
)
def test_whole_numbers_take_the_bytes_of_the_largest(values, form):
    encoded = encode_codes(np.array(values, int))
    assert form in encoded
    assert codes(encoded).tolist() == values


@pytest.mark.parametrize(
    "name",
    ["layers.{n}.experts.{n}.up", "w{n}", "007.{n}.00", "{n}_65536_{n}", "第{n}层"],
)
def test_names_come_back_from_their_templates(name):
    names = [name.format(n=n) for n in range(300)]
    encoded = encode_texts(names)
    assert len(encoded["templates"]) < 75
    assert levels_of(encoded) == names


@pytest.mark.parametrize("name", ["#{n}", "a#.{n}", "{n}00000", "0{n}"])
def test_texts_without_a_template_are_written_out(name):
    texts = [name.format(n=n + 100) for n in range(300)]
    assert encode_texts(texts) == {"levels": texts}


def test_columns_of_few_values_lose_nothing():
    values = np.array([0.1, np.nan, np.inf, -3e300, 0.1, 0.0] * 40)
    (column,) = encode_frame(pd.DataFrame({"std": values}), may_round=True)
    assert "i1" in column["codes"]
    np.testing.assert_array_equal(numbers(column), values)
    assert encode_few(np.linspace(0, 1, 500)) is None


@pytest.mark.parametrize("signs", [1, [1, -1]])
def test_rounded_numbers_keep_four_digits(signs):
    values = np.geomspace(1e-3, 1e3, 5000) * np.resize(signs, 5000)
    values[7], values[9] = 0, np.nan
    encoded = encode_rounded(values)
    np.testing.assert_allclose(rounded(encoded), values, rtol=3e-4, atol=0)


@pytest.mark.parametrize("values", [[1.0, np.inf], [0.0, 0.0], [np.nan], [1e-20, 1e20]])
def test_numbers_that_cannot_be_rounded_are_not(values):
    assert encode_rounded(np.array(values)) is None


def test_numbers_that_are_equal_are_rounded_to_themselves():
    assert rounded(encode_rounded(np.array([2.5, 2.5]))).tolist() == [2.5, 2.5]


def mixture(rows, rng):
    """Columns as a run of a mixture has them."""
    layer, expert = np.divmod(np.arange(rows), 256)
    names = [
        f"model.layers.{a}.mlp.experts.{b}.up_proj" for a, b in zip(layer, expert, strict=True)
    ]
    floats = {f"float_{n}": rng.lognormal(size=rows) for n in range(40)}
    counts = {f"count_{n}": rng.integers(0, 100, rows) for n in range(20)}
    return pd.DataFrame(
        {
            **{"param_name": [f"{name}.weight" for name in names], "layer_index": layer},
            "pieces": [(f"{name}.weight", f"{name}.weight_scale_inv") for name in names],
            **{"expert_index": expert, **floats, **counts},
            **{f"text_{n}": "same" for n in range(20)},
            **{f"empty_{n}": [None] * rows for n in range(5)},
        }
    )


def test_a_row_of_a_very_large_table_takes_few_bytes(monkeypatch, rng):
    """A page of 90,000 rows and the library that draws it must stay below 25 MB."""
    monkeypatch.setattr("mlx_probe.report.html.encoding._SINGLE_CELLS", 100_000)
    frame = mixture(3000, rng)
    small, columns = (encode_frame(of, may_round=True) for of in (frame[:2000], frame))
    assert len(script_json(columns)) - len(script_json(small)) < 1000 * 160
    by_name = {column["name"]: column for column in columns}
    assert texts(by_name["param_name"]) == frame["param_name"].tolist()
    np.testing.assert_allclose(numbers(by_name["float_3"]), frame["float_3"], rtol=3e-4)
    assert "rounded" not in encode_frame(frame)[4]


def test_template_numbers_end_where_two_bytes_do():
    names = [f"a.{n}" for n in range(65_530, 65_540)]
    names += [f"b.{n}" for n in range(compact._MANY_TEXTS)]
    assert levels_of(encode_texts(names)) == names
