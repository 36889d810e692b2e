"""mlx-lm and transformers, imported when a test needs them: each takes seconds."""

from importlib import import_module

import pytest


def mlx_lm(module):
    """A module of mlx-lm; skips the test on Python 3.10, which has none."""
    return pytest.importorskip(f"mlx_lm.{module}", reason="mlx-lm needs Python 3.11")


def transformers(module=""):
    """transformers, or a module of it."""
    return import_module(f"transformers{module}")
