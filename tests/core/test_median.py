import subprocess
import sys

import numpy as np
import pytest

from mlx_probe.core.median import median


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (8,), (5, 3), (6, 4)])
def test_it_is_numpys(shape, rng):
    x = rng.standard_normal(shape)
    assert median(x) == pytest.approx(np.median(x, axis=0), rel=1e-15)


def test_the_largest_floats_do_not_overflow():
    largest = np.finfo(float).max
    assert median(np.array([largest, largest])) == largest


def test_it_imports_nothing():
    code = (
        "import sys, numpy as np\n"
        "from mlx_probe.core.median import median\n"
        "median(np.ones(4)), print('numpy.ma' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
