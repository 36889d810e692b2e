import pytest

from mlx_probe.report.terminal.wrapping import cells, clipped, padded, wrapped

TEXTS = (
    "测量 MODEL 的每个张量：矩、稀疏度、精确的奇异值谱与秩（见 docs/zh/analyze.md）。",
    "Plain English, wrapped at spaces; a-very-long-word-that-is-longer-than-the-line breaks.",
    "一二三四五六七八九十，一二三四五六七八九十。“引文”，（括号）。",
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [10, 24, 40, 79])
def test_no_line_is_wider_than_asked(text, width):
    lines = wrapped(text, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    # Where no word has to be broken, punctuation stays with its word.
    assert width < 24 or not any(line[0] in "，。：；）”" for line in lines)
    assert width < 24 or not any(line[-1] in "（“" for line in lines)


def test_widths_count_cells():
    assert cells("秩 rank") == 7
    assert padded("秩", 4) == "秩  "
    assert clipped("model.layers.0.秩", 9) == "...s.0.秩"
    assert clipped("short", 9) == "short"
    assert wrapped("", 10) == [""]
