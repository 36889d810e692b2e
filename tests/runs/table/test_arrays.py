"""Our builder against pyarrow's own conversion, value for value and bit for bit."""

from datetime import datetime, timezone

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.runs.table.arrays import null_mask, to_array, to_floats

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2262, 1, 1), timezones=st.just(timezone.utc))
KINDS = {
    "int64": (pa.int64(), INT64),
    "float64": (pa.float64(), st.floats()),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), TEXT),
    "timestamp": (pa.timestamp("us", tz="UTC"), TIMES),
    "list<int64>": (pa.list_(pa.int64()), st.lists(INT64, max_size=3)),
    "list<string>": (pa.list_(pa.string()), st.lists(TEXT, max_size=3)),
}


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_as_pyarrow_converts_them(name, data):
    kind, values = KINDS[name]
    column = data.draw(st.lists(st.none() | values, max_size=20))
    ours, theirs = to_array(column, kind), pa.array(column, kind, from_pandas=True)
    ours.validate(full=True)
    assert ours.equals(theirs)
    assert ours.null_count == theirs.null_count
    assert [repr(value) for value in ours.to_pylist()] == [repr(v) for v in theirs.to_pylist()]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("int64", 2**63, OverflowError),
        ("int64", 1.5, TypeError),
        ("float64", "1.0", TypeError),
        ("timestamp", datetime(2025, 1, 1), TypeError),
        ("string", "\ud800", UnicodeEncodeError),
        ("string", 1, AttributeError),
        ("list<int64>", {}, TypeError),
    ],
)
def test_a_value_of_another_type_is_an_error(name, value, error):
    with pytest.raises(error):
        to_array([value], KINDS[name][0])


def test_another_type_of_column_is_an_error():
    with pytest.raises(TypeError, match="no column has the type"):
        to_array([], pa.float32())


@pytest.mark.parametrize("name", ["int64", "float64", "bool"])
@settings(deadline=None)
@given(data=st.data())
def test_numbers_come_back_with_nan_for_null(name, data):
    kind, values = KINDS[name]
    chunks = data.draw(st.lists(st.lists(st.none() | values, max_size=9), max_size=3))
    first = data.draw(st.integers(0, 3))
    # A slice begins within a byte of the bitmap.
    column = pa.chunked_array([to_array(chunk, kind) for chunk in chunks], kind).slice(first)
    expected = [value for chunk in chunks for value in chunk][first:]
    assert null_mask(column).tolist() == [v is None or v != v for v in expected]
    numbers = [float("nan") if value is None else float(value) for value in expected]
    assert [repr(x) for x in to_floats(column).tolist()] == [repr(x) for x in numbers]
