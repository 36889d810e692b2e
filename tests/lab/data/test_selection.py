"""Duplicates and splits: no document is in both, whatever the order and the ranges."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data import selection
from mlx_probe.lab.data.census import RECORD, Census, FileCount
from mlx_probe.lab.data.selection import DROPPED, SAMPLE, VALIDATION, select_documents


def census_of(texts, folder):
    data = b"".join(
        hashlib.sha256(text.encode()).digest()[:16] + len(text.encode()).to_bytes(4, "little")
        for text in texts
    )
    path = folder / "documents.bin"
    path.write_bytes(data)
    assert len(data) == len(texts) * RECORD.itemsize
    return Census((FileCount("", 0, 0, len(texts), {}, {}, []),), path)


def select(texts, validation=0.3, sample=20):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        chosen = select_documents(census_of(texts, folder), folder, validation, sample)
        return np.array(chosen.uses()), chosen


TEXTS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=2, max_size=60).filter(
    lambda texts: len(set(texts)) > 1
)


@given(TEXTS, st.floats(0.01, 0.99), st.sampled_from([2, 5, 1000]))
def test_no_document_is_in_both_splits(texts, validation, in_range):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_RANGE", in_range)
        patch.setattr(selection, "_BLOCK", 7)
        uses, chosen = select(texts, validation)
    kept = {text for text, use in zip(texts, uses, strict=True) if use != DROPPED}
    held = {text for text, use in zip(texts, uses, strict=True) if use == VALIDATION}
    train = {
        text for text, use in zip(texts, uses, strict=True) if use not in (DROPPED, VALIDATION)
    }
    assert kept == set(texts)
    assert not held & train
    assert held
    assert train
    # The first of equal documents is kept.
    assert [texts.index(text) for text in texts if text in kept].count(-1) == 0
    for number, use in enumerate(uses):
        assert (use == DROPPED) == (texts[number] in texts[:number])
    assert chosen.duplicates == len(texts) - len(set(texts))
    assert chosen.documents == {"train": len(train), "validation": len(held)}
    assert chosen.bytes == {"train": sum(map(len, train)), "validation": sum(map(len, held))}
    # Other documents of the corpus change nothing, unless a split would be empty.
    if not chosen.note:
        assert held == {text for text in kept if _share(text) < validation}
    # The sample: training documents in the order of their hashes, never validation ones.
    sample = {text for text, use in zip(texts, uses, strict=True) if use == SAMPLE}
    ordered = sorted(train, key=lambda text: hashlib.sha256(text.encode()).digest())
    assert sample == set(ordered[: len(sample)])
    assert sum(map(len, ordered[: len(sample) - 1])) < 20
    assert len(sample) == len(ordered) or sum(map(len, sample)) >= 20


def _share(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def test_an_empty_split_gets_the_nearest_document():
    texts = [f"text {number}" for number in range(40)]
    ordered = sorted(texts, key=_share)
    uses, chosen = select(texts, 1e-9)
    assert [t for t, use in zip(texts, uses, strict=True) if use == VALIDATION] == ordered[:1]
    assert "no document's hash is below 1e-09: the smallest one" in chosen.note
    uses, chosen = select(texts, 1 - 1e-9)
    assert [t for t, use in zip(texts, uses, strict=True) if use != VALIDATION] == ordered[-1:]
    assert "the largest one is for training" in chosen.note


def test_the_share_is_kept_on_average():
    _, chosen = select([f"text {number}" for number in range(5000)], 0.1)
    assert chosen.documents["validation"] == pytest.approx(500, abs=70)


@pytest.mark.parametrize(("texts", "message"), [([], "is empty"), (["a", "a"], "is one document")])
def test_what_cannot_be_split_is_refused(texts, message):
    with pytest.raises(SourceError, match=message):
        select(texts)
