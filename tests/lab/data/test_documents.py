"""Documents: where they end depends on the text alone, and no character is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.lab.data import documents
from mlx_probe.lab.data.documents import CUTTERS, split_documents, split_segments

TEXT = st.lists(st.sampled_from(["a", "bc ", "\n", "\n\n", "\r\n", " \n", "é", "word " * 9]))


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "LONGEST", 60)
        patch.setattr(documents, "CHUNK", 8)
        patch.setattr(documents, "LONGEST_CHUNK", 24)
        patch.setattr(documents, "SEGMENT", 16)
        yield


@given(TEXT, st.sampled_from(sorted(CUTTERS)), st.integers(1, 40))
def test_documents_do_not_depend_on_the_blocks(parts, kind, size):
    text = "".join(parts)
    whole = list(split_documents([text], kind))
    assert list(split_documents(parts, kind)) == whole
    assert list(split_documents([text[i : i + size] for i in range(0, len(text), size)], kind)) == (
        whole
    )
    # Nothing but line ends and blank lines around documents is left out.
    if kind == "file":
        assert "".join(whole) == text
    assert "".join("".join(whole).split()) == "".join(text.split())


@given(TEXT)
def test_limits_hold(parts):
    text = "".join(parts)
    assert all(
        len(document) <= 60 for kind in CUTTERS for document in split_documents([text], kind)
    )
    assert all(len(document) <= 24 for document in split_documents([text], "chunk"))
    segments = split_segments(text)
    assert "".join(segments) == text
    assert all(len(segment) <= 16 for segment in segments)


def test_kinds():
    text = "one\ntwo\n\n \nthree\r\n\r\nfour\n"
    assert list(split_documents([text], "line")) == [
        "one", "two", "", " ", "three", "", "four",
    ]  # fmt: skip
    assert list(split_documents([text], "paragraph")) == ["one\ntwo", "three", "four"]
    # From character 8 on a chunk ends with its paragraph.
    assert list(split_documents([text], "chunk")) == ["one\ntwo", "three\r\n\r\nfour"]
    assert list(split_documents([text], "file")) == [text]
