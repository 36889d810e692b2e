"""A load test keeps the garbage collector from its measurements, and leaves it as it was."""

import gc

import pytest

from mlx_probe.lab.load_test.session import _undisturbed


@pytest.mark.parametrize("is_frozen", [True, False])
def test_what_somebody_else_has_frozen_stays_so(is_frozen):
    gc.unfreeze()
    try:
        if is_frozen:
            gc.freeze()
        with _undisturbed():
            assert gc.get_freeze_count() > 0
        assert (gc.get_freeze_count() > 0) == is_frozen
    finally:
        # As tests/conftest.py has it.
        gc.freeze()
