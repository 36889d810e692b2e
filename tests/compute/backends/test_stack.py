"""Elements of several chunks as the rows of one, on every backend."""

import numpy as np
import pytest
from matrices import FLOATS, store


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("span", [slice(0, 15), slice(4, 11)])
def test_a_stack_holds_the_elements_of_all(backend, dtype, span, rng):
    matrices = [store(rng.standard_normal((3, 5)), dtype) for _ in range(4)]
    chunks = [backend.load(words, dtype) for words, _ in matrices]
    stacked = backend.stack(chunks, span)
    gram = backend.gram_pass(4, 100, dtype, precise=True)
    gram.add(stacked)
    flat = np.stack([values.reshape(-1)[span] for _, values in matrices])
    np.testing.assert_allclose(
        np.triu(gram.finish().matrix), np.triu(flat @ flat.T), rtol=1e-12, atol=1e-12
    )
