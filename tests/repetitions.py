"""How often a test repeats what it does: few times in the suite, many with `--long`.

Cases of a parametrized test that add nothing but repetitions are marked `long` instead.
"""

import pytest

LONG = pytest.mark.long
# Whether `--long` was given: conftest.py says so.
asked = False


def times(few, many):
    """A number of repetitions; both fail for the same defects, the second for rarer ones too."""
    return many if asked else few
