"""Rows, slabs and experts of packed weights are decoded one by one, as in the whole matrix."""

import tracemalloc

import numpy as np
import pytest
from hf_packings import CASES, nf4_case, only, opened
from hypothesis import given, settings
from hypothesis import strategies as st
from repetitions import times
from weightfiles import whole


@pytest.mark.slow
@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(64, 2560), (1536, 64), (1056, 1088)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_slabs_add_up_to_the_matrix(tmp_path, rng, case, shape):
    make, options = CASES[case]
    tensors, config, values = make(rng, *shape, **options)
    weight = only(tmp_path, tensors, config)
    assert weight.parameter.packing == case.split()[0]
    np.testing.assert_array_equal(whole(weight), values)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(2, 4097), (1100, 33), (7, 1025)], ids=str)
@pytest.mark.parametrize("block", [64, 4096])
def test_flat_blocks_run_on_from_row_to_row(tmp_path, rng, shape, block):
    tensors, config, values = nf4_case(rng, *shape, block=block)
    np.testing.assert_array_equal(whole(only(tmp_path, tensors, config)), values)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """One weight of each case, with its pieces mapped, and its values."""
    decoders = {}
    for case, (make, options) in CASES.items():
        tensors, config, values = make(np.random.default_rng(5), 96, 2112, **options)
        weight = only(tmp_path_factory.mktemp("packed"), tensors, config)
        decoders[case] = weight.parameter.decode, weight._open()[0], values
    return decoders


@pytest.mark.slow
@settings(max_examples=times(30, 100), deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("case", CASES)
def test_any_rows_and_slabs_decode_alike(packed, case, data):
    decode, pieces, values = packed[case]
    first = data.draw(st.sampled_from([0, 1024, 2048]))
    cols = slice(first, data.draw(st.sampled_from([c for c in (1024, 2048, 2112) if c > first])))
    numbers = data.draw(st.lists(st.integers(0, 95), min_size=1, max_size=20))
    low, high = min(numbers), max(numbers) + 1
    for rows in (np.array(numbers), slice(low, high)):
        np.testing.assert_array_equal(decode(pieces, rows, cols), values[rows, cols])


@pytest.mark.parametrize("case", ["gptq 3", "awq", "bitsandbytes int8"])
def test_a_stack_has_its_experts_one_by_one(tmp_path, rng, case):
    make, options = CASES[case]
    experts = [make(rng, 32, 128, **options) for _ in range(3)]
    tensors = {
        name: (np.stack([tensors[name][0] for tensors, *_ in experts]), dtype)
        for name, (_, dtype) in experts[0][0].items()
    }
    weights = opened(tmp_path, tensors, experts[0][1])
    assert [weight.expert_index for weight in weights] == [0, 1, 2]
    for weight, (_, _, values) in zip(weights, experts, strict=True):
        np.testing.assert_array_equal(whole(weight), values)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_no_more_is_unpacked_than_a_slab_needs(tmp_path, rng, case):
    make, options = CASES[case]
    tensors, config, values = make(rng, 512, 2048, **options)
    weight = only(tmp_path, tensors, config)
    decode, (pieces, _) = weight.parameter.decode, weight._open()
    tracemalloc.start()
    block = decode(pieces, slice(0, 32), slice(0, 2048))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Of 512 rows, 32: unpacking all would take at least four bytes for each of the elements.
    assert peak < 6 * block.nbytes < values.nbytes
