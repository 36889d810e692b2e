"""Counting words in bounded memory, and choosing characters."""

from collections import Counter

from tokenizer_texts import HARD, POEMS, TEXT, random_strings

from mlx_probe.lab.data.tokenizer.words import WordCount, keep_alphabet, split_words


def test_words_are_the_text():
    for text in [TEXT, POEMS, *HARD, *random_strings(500)]:
        assert "".join(split_words(text)) == text


def test_letters_and_signs_are_apart_and_take_the_spaces_before_them():
    words = ["He", " said", ",", " don", "'", "t", "  ...", "日本", "。\n\n", "x", "10", " "]
    assert split_words("".join(words)) == words


def test_the_sample_ends_at_its_bytes():
    count = WordCount(10)
    assert list(count.take(["日本語", "abcdef", "never"])) == ["日本語", "a"]
    assert count.bytes == 10
    assert count.words == {"日本語": 1, "a": 1}


def test_the_sample_ends_at_the_bytes_of_different_words():
    count = WordCount(10**9, distinct=12)
    # Repeated words take no more memory.
    assert list(count.take(["ab cd", " cd" * 50, " 日本", " new", " never"])) == [
        *("ab cd", " cd" * 50, " 日本"),
    ]


def test_text_that_utf8_does_not_have_is_left_out():
    assert list(WordCount(99).take(["a\ud800b"])) == ["ab"]


def test_rare_characters_cut_words():
    words = Counter({"abc": 8, "axb": 1, "xy": 1})
    kept, size = keep_alphabet(words, most=9, coverage=0.8)
    # a, b and c are 26 of 29 characters.
    assert (kept["abc"], kept["a"], kept["b"], size) == (8, 1, 1, 3)
    assert not any("x" in word or "y" in word for word in kept)


def test_equal_counts_keep_the_first_characters_in_unicode():
    for words in (Counter("ba"), Counter("ab")):
        kept, size = keep_alphabet(words, most=1, coverage=1.0)
        assert (kept["a"], kept["b"], size) == (1, 0, 1)


def test_long_words_are_cut():
    kept, _ = keep_alphabet(Counter({"a" * 600: 2}), most=1, coverage=1.0)
    assert kept == {"a" * 256: 4, "a" * 88: 2}
