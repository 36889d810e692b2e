"""Models with rows of 64, in float32 and in bfloat16."""

import pytest
from budgets import lm
from lab import mlx_lm


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    mlx_lm("utils")
    return lm(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    mlx_lm("utils")
    return lm(tmp_path_factory.mktemp("half"), "bfloat16")
