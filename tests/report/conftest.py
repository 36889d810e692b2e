import pandas as pd
import pytest
from models import arrays, copied, tiny, whole  # noqa: F401  fixtures

from mlx_probe.core.records import Column
from mlx_probe.report.run_data import RunData, load_run_data


@pytest.fixture
def data(whole):  # noqa: F811
    return load_run_data(whole.folder)


@pytest.fixture
def make():
    """Run data of some columns; the others are those of a plain layer."""

    def make(meta=None, **columns):
        count = len(next(iter(columns.values())))
        frame = pd.DataFrame(
            {
                "param_name": [f"layers.{row}.w" for row in range(count)],
                "layer_index": range(count),
                "block_type": ["q_proj"] * count,
                **columns,
            }
        )
        known = tuple(Column(name, "float64", "moments", "") for name in frame.columns)
        return RunData(frame, known, meta or {})

    return make
