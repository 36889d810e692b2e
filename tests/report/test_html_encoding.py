import numpy as np
import pandas as pd
import pytest
from html_pages import numbers, texts

from mlx_probe.core.records import Column
from mlx_probe.report.html.encoding import encode_frame, encode_numbers
from mlx_probe.report.html.spectra import BESIDE, encode_spectra, plotted_ranks


def test_a_copy_shows_the_spectrum_of_its_original():
    frame = pd.DataFrame(
        {"param_name": ["a", "b"], "part": [None, None], "alias_of": [None, "a"]},
    )
    spectra = spectra_of(["a"], [np.array([3.0, 2.0, 1.0])])
    encoded = encode_spectra(spectra, frame, [])
    assert encoded["copies"] == {"1": 0}
    assert list(encoded["of"]) == ["0"]


def spectra_of(names, values):
    return pd.DataFrame(
        {
            "param_name": names,
            "expert_index": pd.array([None] * len(names), dtype="Int64"),
            "part": [None] * len(names),
            "rows": [len(v) for v in values],
            "cols": [2 * len(v) for v in values],
            "spectrum_error": 0.0,
            "singular_values": values,
        }
    )


def test_spectra_keep_to_their_budget_outliers_first():
    names = [f"w{n}" for n in range(6)]
    values = [np.linspace(2, 1, 10) for _ in names]
    frame = pd.DataFrame({"param_name": names})
    encoded = encode_spectra(spectra_of(names, values), frame, [4, 2], budget=3 * (10 + BESIDE) + 5)
    assert (encoded["kept"], encoded["total"]) == (3, 6)
    assert list(encoded["of"]) == ["0", "2", "4"]


@pytest.mark.parametrize("count", [1, 2, 299, 300, 301, 1000, 65536])
def test_plotted_ranks_cover_a_spectrum(count):
    ranks = plotted_ranks(count)
    assert ranks[0] == 1
    assert ranks[-1] == count
    assert (np.diff(ranks) > 0).all()
    assert len(ranks) <= 300
    # The longest step is a short one on a logarithmic axis.
    assert (ranks[1:] / ranks[:-1])[ranks[:-1] > 20].max(initial=1) < 1.15


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, np.nan, np.inf, -np.inf, 0.0], "f4"),
        ([2.0**24, -3.0], "f4"),
        ([2.0**24 + 1, 3.0], "f8"),
        ([1e-300, 1.5], "f8"),
        ([1e300, 1.5], "f8"),
        ([], "f4"),
    ],
)
def test_numbers_keep_what_they_are(values, kind):
    encoded = encode_numbers(np.array(values, dtype=np.float64))
    assert list(encoded) == [kind]
    np.testing.assert_allclose(numbers(encoded), np.array(values), rtol=6e-8, atol=0)


@pytest.mark.parametrize(("values", "kind"), [([0.1, 2.0], "f8"), ([0.5, np.nan, np.inf], "f4")])
def test_exact_numbers_keep_every_digit(values, kind):
    encoded = encode_numbers(np.array(values), exact=True)
    assert list(encoded) == [kind]
    np.testing.assert_array_equal(numbers(encoded), values)


def test_large_tables_have_seven_digits(monkeypatch):
    monkeypatch.setattr("mlx_probe.report.html.encoding._EXACT_CELLS", 1)
    (column,) = encode_frame(pd.DataFrame({"std": [0.1, 0.2]}))
    assert "f4" in column
    np.testing.assert_allclose(numbers(column), [0.1, 0.2], rtol=6e-8)


def test_columns_of_all_kinds():
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2025-01-31T09:00:00.25Z", None]),
            "shape": [(2, 3), None],
            "pieces": [("a", "b"), ()],
            "flag": pd.array([True, None], dtype="boolean"),
            "count": pd.array([7, None], dtype="Int64"),
            "empty": [np.nan, np.nan],
        }
    )
    encoded = encode_frame(frame, [Column("count", "int64", "run", "How many.", unit="s")])
    when, shape, pieces, flag, count, empty = encoded
    assert texts(when) == ["2025-01-31 09:00:00+00:00", None]
    assert texts(shape) == ["2 x 3", None]
    assert texts(pieces) == ["a, b", ""]
    assert (flag["kind"], count["kind"], empty["kind"]) == ("bool", "int", "float")
    assert (count["about"], count["unit"], count["family"]) == ("How many.", "s", "Run")
    assert not empty["filled"]
    assert not empty["log"]
