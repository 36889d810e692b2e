import gc

import pytest

from mlx_probe.core.collecting import uncollected


def test_nothing_is_collected_meanwhile_and_afterwards_as_before():
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()
