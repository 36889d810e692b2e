"""The map of blocks, against its formula number by number."""

import numpy as np
import pytest

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.moe.signals.block_map import block_scores, refuse_block


def test_the_formula():
    generator = np.random.default_rng(0)
    hidden, gradient = generator.standard_normal((2, 5, 24)).astype("f4")
    found = block_scores(hidden, gradient, 8)
    for token in range(5):
        blocks = [slice(8 * b, 8 * b + 8) for b in range(3)]
        active = np.array([hidden[token, b].astype("f8").mean() for b in blocks])
        norms = np.array([np.sqrt((gradient[token, b].astype("f8") ** 2).sum()) for b in blocks])
        wanted = (active - active.mean()) / active.std() - (norms - norms.mean()) / norms.std()
        np.testing.assert_allclose(found[token], wanted, rtol=1e-5, atol=1e-6)


def test_equal_blocks_have_zero():
    ones = np.ones((2, 12), "f4")
    assert not block_scores(ones, ones, 4).any()


@pytest.mark.parametrize(
    ("block", "width", "sizes"), [(64, 864, ("54", "72")), (576, 576, ("288",)), (64, 32, ("16",))]
)
def test_blocks_that_do_not_fit_are_refused(block, width, sizes):
    refuse_block(64, 576, "m")
    with pytest.raises(ConfigError) as error:
        refuse_block(block, width, "m")
    assert f"m has {width} units" in error.value.fact
    for size in sizes:
        assert size in error.value.remedy
        refuse_block(int(size), width, "m")
