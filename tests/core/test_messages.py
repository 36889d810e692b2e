import pytest

from mlx_probe.core import language as languages
from mlx_probe.core import messages
from mlx_probe.core.messages import templates, translated

CATALOG = {
    "ok": "好",
    "cannot read {0}: {1}": "无法读取 {0}：{1}",
    "{0} has {1} rows": "{0} 有 {1} 行",
    "{0} has {1} rows of its own": "{0} 自有 {1} 行",
    "the header is broken": "文件头已损坏",
    "{1} of {0} is {{odd}}": "{0} 中 {1} 为 {{odd}}",
    "named {field}": "名为 {field}",
}


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setenv(languages.VARIABLE, "zh")
    monkeypatch.setattr(messages, "catalog", lambda name: CATALOG)
    for cached in (templates, messages._read):
        cached.cache_clear()
    yield
    for cached in (templates, messages._read):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ok", "好"),
        ("cannot read a.gguf: no space", "无法读取 a.gguf：no space"),
        # Values that are messages, whatever stands before them.
        ("cannot read a.gguf: the header is broken", "无法读取 a.gguf：文件头已损坏"),
        ("a.gguf: the header is broken", "a.gguf：文件头已损坏"),
        ("a.gguf: part: the header is broken", "a.gguf：part：文件头已损坏"),
        # The template with more text is meant.
        ("w has 3 rows of its own", "w 自有 3 行"),
        ("w has 3 rows", "w 有 3 行"),
        ("3 of w is {odd}", "w 中 3 为 {odd}"),
        ("ok; w has 3 rows", "ok；w 有 3 行"),
        ("ok\n  w has 3 rows\n  else", "ok\n  w 有 3 行\n  else"),
        ("cannot read a.gguf or b.gguf: no space", "无法读取 a.gguf 或 b.gguf：no space"),
        ("what no catalog has", "what no catalog has"),
        ("named x", "named x"),
        ("", ""),
    ],
)
def test_a_message_is_translated_with_its_values(chinese, text, expected):
    assert translated(text) == expected


def test_english_is_not_touched(monkeypatch):
    monkeypatch.setenv(languages.VARIABLE, "en")
    assert translated("Error: {message}") == "Error: {message}"
    assert templates("en") == ()
