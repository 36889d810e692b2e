"""Text that comes token by token: whole characters, nothing lost, an end at a stop text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.lab.generate.text_stream import TextStream


def bytes_of(tokens):
    """Each token is a byte, as in the fallback of SentencePiece."""
    data = bytes(tokens)
    try:
        return data.decode()
    except UnicodeDecodeError:
        # What `tokenizers` does with a run of bytes that is not valid as a whole.
        return "\ufffd" * len(data)


def run(text, prompt="", stop=(), decode=bytes_of):
    stream = TextStream(decode, list(prompt.encode()), stop)
    pieces = []
    for token in text.encode():
        pieces.append(stream.add(token))
        if stream.stopped:
            break
    pieces.append(stream.finish())
    assert "".join(pieces) == stream.text
    return stream, pieces


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120), st.text(max_size=40))
def test_the_pieces_are_the_text(text, prompt):
    stream, pieces = run(text, prompt)
    assert stream.text == text
    # A piece a byte: those inside a character are empty.
    assert all(piece == "" or piece in text for piece in pieces)


def test_a_piece_is_a_whole_character():
    _, pieces = run("a中\U0001f600")
    assert [piece for piece in pieces if piece] == ["a", "中", "\U0001f600"]


def test_long_text_without_a_shorter_window_in_a_character():
    assert run("中文" * 200, "中" * 30)[0].text == "中文" * 200


def test_bytes_that_are_no_text():
    stream = TextStream(bytes_of)
    pieces = [stream.add(255) for _ in range(4)]
    # After four bytes no more can complete a character.
    assert pieces == ["", "", "", "\ufffd" * 4]
    assert stream.add(255) == ""
    assert stream.finish() == "\ufffd"


def test_the_space_of_the_first_word_stays():
    words = ["\u2581Once", "\u2581upon", "\u2581a", "\u2581time"]

    def decode(tokens):
        return "".join(words[token] for token in tokens).replace("\u2581", " ").removeprefix(" ")

    stream = TextStream(decode, [0, 1])
    assert [stream.add(2), stream.add(3), stream.finish()] == [" a", " time", ""]
    assert TextStream(decode).add(0) == "Once"


@pytest.mark.parametrize("stop", [("END",), ("xyz", "END"), ("D", "END")])
def test_a_stop_text_ends_it(stop):
    stream, _ = run("one END two", stop=stop)
    assert stream.stopped
    # The one that begins first.
    assert stream.text == "one "
    assert stream.add(ord("x")) == ""


def test_what_may_become_a_stop_text_is_held_back():
    stream, pieces = run("a E EN b", stop=("END",))
    assert stream.text == "a E EN b"
    assert not stream.stopped
    assert pieces[:5] == ["a", " ", "", "E ", ""]


def test_a_beginning_of_a_stop_text_at_the_end():
    stream, _ = run("so EN", stop=("END",))
    assert stream.text == "so EN"
