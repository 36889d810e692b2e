"""A changed packed checkpoint gives the numbers of the unchanged one, or a reason: never others.

What the originals contain was compared with the packages that wrote them (`test_packings_hf`,
`test_packings_made`, `tests/referees`). See `mutations` for what is changed, and for the few
changes that make another valid checkpoint.
"""

from functools import cache

import mutations
import numpy as np
import pytest
from hf_packings import opened
from mutations import MUTATIONS, changed, is_valid
from repetitions import LONG

from mlx_probe.checkpoint import PACKINGS
from mlx_probe.core.errors import PackingError

CASES = mutations.cases()
# The first two batches; all with `--long`.
SEEDS, BATCHES = 2000, 10
BATCH = [pytest.param(n, marks=LONG if n > 1 else ()) for n in range(BATCHES)]
# GGUF files, which declare nothing: see `test_guard_gguf`.
OTHERS = ("ggml",)


def read(folder, tensors, settings):
    """Label to packing and values, for everything that is read without an objection."""
    values = {}
    for weight in opened(folder, tensors, settings):
        if weight.problem is not None or not weight.shape:
            continue
        wide = weight.rows is not None and weight.rows < weight.cols
        try:
            chunks = [np.array(chunk) for chunk in weight.chunks()]
        except PackingError:
            continue
        whole = np.concatenate(chunks, axis=1 if wide else 0) if chunks else np.zeros(0)
        values[weight.label] = weight.parameter.packing, whole
    return values


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Label to values of an unchanged case."""
    folder = tmp_path_factory.mktemp("original")
    return cache(lambda name: read(folder, *CASES[name]))


def wrong(values, expected, kind):
    """Labels of rows whose numbers are not those of the unchanged checkpoint."""
    return [label for label, got in values.items() if not _right(got, expected.get(label), kind)]


def _right(got, expected, kind):
    if expected is None and got[1].dtype.kind in "iu" and got[1].size <= 16:
        return True  # a setting, whatever it is called
    if expected is None or got[1].ndim != expected[1].ndim:
        return False
    # Rows or columns more or less: the others have their numbers.
    common = tuple(map(slice, map(min, got[1].shape, expected[1].shape)))
    same_shape = got[1].shape == expected[1].shape or kind == "resize"
    a, b = got[1][common], expected[1][common]
    # Products of another width are rounded otherwise.
    near = 1e-5 * (kind == "resize")
    return same_shape and np.allclose(a, b, rtol=near, atol=near, equal_nan=True)


def test_every_packing_is_changed(original):
    packings = {packing for name in CASES for packing, _ in original(name).values()}
    assert packings >= {*PACKINGS} - {*OTHERS}
    for name in CASES:
        assert any(packing != "plain" for packing, _ in original(name).values()), name


@pytest.mark.parametrize("kind", MUTATIONS)
@pytest.mark.parametrize("packing", sorted({*PACKINGS} - {*OTHERS}))
def test_every_change_of_one_checkpoint_of_each_packing(tmp_path, original, packing, kind):
    name = next(n for n in CASES if packing in [got for got, _ in original(n).values()])
    failures = []
    for arguments in MUTATIONS[kind][0](*CASES[name]):
        mutated = changed(kind, CASES[name], arguments)
        if mutated is not None and not is_valid(name, kind, arguments):
            labels = wrong(read(tmp_path, *mutated), original(name), kind)
            failures += [(name, kind, arguments, labels)] if labels else []
    assert not failures


@pytest.mark.parametrize("batch", BATCH)
def test_seeded_changes_of_all_checkpoints(tmp_path, original, batch):
    names, kinds = list(CASES), list(MUTATIONS)
    failures, tried, right = [], 0, 0
    seed = batch * 1_000_000
    while tried < SEEDS // BATCHES:
        rng = np.random.default_rng(seed := seed + 1)
        name, kind = names[rng.integers(len(names))], kinds[rng.integers(len(kinds))]
        options = list(MUTATIONS[kind][0](*CASES[name]))
        arguments = options[rng.integers(len(options))] if options else ()
        mutated = changed(kind, CASES[name], arguments) if options else None
        if mutated is None or is_valid(name, kind, arguments):
            continue
        tried += 1
        values = read(tmp_path, *mutated)
        labels = wrong(values, original(name), kind)
        failures += [(seed, name, kind, arguments, labels)] if labels else []
        right += bool(values)
    assert not failures
    # Most changes are refused, but not all of them.
    assert right > tried // 20


def test_the_changes_that_are_left_out_are_few():
    every = [
        (name, kind, arguments)
        for name, case in CASES.items()
        for kind, (options, _) in MUTATIONS.items()
        for arguments in options(*case)
    ]
    assert sum(is_valid(*change) for change in every) < len(every) / 50
