"""Windows: each token is scored once, from as much text as promised."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.windows import Window, windows


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 300), st.integers(1, 40), st.data())
def test_each_token_but_the_first_is_scored_once(tokens, context, data):
    stride = data.draw(st.integers(1, context))
    found = list(windows(tokens, context, stride, tail=True))
    scored = [token for window in found for token in range(window.scored, window.stop)]
    assert scored == list(range(1, tokens))
    for window in found:
        assert 0 <= window.start < window.scored < window.stop
        assert window.stop - 1 - window.start <= context
        # Tokens before the first one that is scored, of those there are.
        assert window.scored - window.start >= min(context - stride + 1, window.scored)


def test_windows_of_training_leave_the_end_out():
    assert list(windows(10, 4, 4, tail=False)) == [Window(0, 5, 1), Window(4, 9, 5)]
    assert list(windows(9, 4, 4, tail=False)) == [Window(0, 5, 1), Window(4, 9, 5)]
    assert list(windows(10, 4, 4, tail=True))[2:] == [Window(8, 10, 9)]


@pytest.mark.parametrize(("tokens", "tail"), [(0, True), (1, True), (4, False)])
def test_too_few_tokens(tokens, tail):
    with pytest.raises(ConfigError, match="tokens"):
        list(windows(tokens, 4, 4, tail))
