import json
import math
from datetime import datetime, timedelta, timezone
from types import MappingProxyType

import numpy as np
import pytest

from mlx_probe.runs.table.strict_json import encode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (np.True_, "true"),
        (np.int64(3), "3"),
        (np.float64(0.1), "0.1"),
        (np.float32(0.5), "0.5"),
        (-0.0, "-0.0"),
        (5e-324, "5e-324"),
        (math.inf, "1e999"),
        (-math.inf, "-1e999"),
        (math.nan, "null"),
        (np.float64("nan"), "null"),
        ((1, (2.5, None)), "[1, [2.5, null]]"),
        (
            MappingProxyType({"a": (np.float32("inf"), [MappingProxyType({})])}),
            '{"a": [1e999, [{}]]}',
        ),
        ({"a\n": {"b": []}}, '{"a\\n": {"b": []}}'),
        ("é\ud800", '"\\u00e9\\ud800"'),
        (
            datetime(2025, 1, 31, 10, tzinfo=timezone(timedelta(hours=1))),
            '"2025-01-31T09:00:00.000000Z"',
        ),
    ],
)
def test_encode(value, text):
    assert encode(value) == text
    assert encode([value, math.inf]) == f"[{text}, 1e999]"
    json.loads(text)


def test_unknown_types_are_an_error():
    with pytest.raises(TypeError):
        encode({"a": object()})
