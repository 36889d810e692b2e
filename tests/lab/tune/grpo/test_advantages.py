"""An answer is worth what it is above its group."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.lab.tune.grpo.advantages import EPSILON, group_advantages

GROUPS = st.lists(st.floats(0, 1), min_size=2, max_size=16)


def test_by_hand():
    rewards = [[1.0, 0.0, 0.5, 0.5], [0.2, 0.2, 0.2, 1.0]]
    plain = group_advantages(rewards, divided=False)
    np.testing.assert_allclose(plain, [[0.5, -0.5, 0, 0], [-0.2, -0.2, -0.2, 0.6]], atol=1e-15)
    spread = np.array([[np.sqrt(0.5 / 3)], [0.4]])
    divided = group_advantages(rewards, divided=True)
    np.testing.assert_allclose(divided, plain / (spread + EPSILON), rtol=1e-12)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1 / 3])
@pytest.mark.parametrize("group", [2, 3, 7])
def test_a_group_of_equals_teaches_nothing(reward, group):
    assert not group_advantages([[reward] * group], divided=True).any()


@given(GROUPS)
def test_properties(rewards):
    divided = group_advantages(rewards, divided=True)
    assert divided.sum() == pytest.approx(0, abs=1e-8)
    assert np.sqrt((divided**2).sum() / (len(rewards) - 1)) <= 1 + 1e-9
    # The best answer is never discouraged.
    assert divided[np.argmax(rewards)] >= 0
    shifted = group_advantages([each + 5 for each in rewards], divided=False)
    np.testing.assert_allclose(shifted, group_advantages(rewards, divided=False), atol=1e-12)
