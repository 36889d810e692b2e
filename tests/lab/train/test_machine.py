"""What a run computes with, and what a user hears about it."""

import sys
from dataclasses import replace

import pytest

from mlx_probe.lab.device import use_device
from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.machine import Machine


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bring a fast BLAS")
def test_a_slow_blas_is_told():
    use_device("cpu")
    here = Machine.here(TrainConfig(), 0.0)
    assert "libopenblas0-pthread" in replace(here, blas=None).slow_products
    assert replace(here, blas="/usr/lib/libopenblas.so.0").slow_products is None
