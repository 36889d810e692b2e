import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as floats_of
from rich.console import Console

from mlx_probe.report.terminal.profile import default_metrics, profile_text
from mlx_probe.report.terminal.sparkline import BLOCKS, PLAIN_BLOCKS, blocks_for, sparkline


def shown(data, *metrics, width=100, encoding="utf-8"):
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False)
    console.print(profile_text(data, list(metrics), width, encoding))
    return file.getvalue()


def line(text, start):
    """The words of the only line that begins so."""
    (words,) = [row.split() for row in text.splitlines() if row.split()[:1] == [start]]
    return words


def test_a_line_of_blocks():
    assert sparkline(np.arange(8.0)) == BLOCKS
    assert sparkline(np.arange(8.0)[::-1]) == BLOCKS[::-1]
    assert sparkline(np.array([1.0, np.nan, 2.0])) == "▁·█"
    assert sparkline(np.arange(8.0), PLAIN_BLOCKS) == PLAIN_BLOCKS


def test_equal_values_are_neither_high_nor_low():
    assert set(sparkline(np.full(4, 3.0))) <= set("▄▅")
    assert set(sparkline(np.array([1.0, 1 + 1e-16, 1 - 1e-12]))) <= set("▄▅")


def test_decades_are_compared_by_logarithm():
    assert sparkline(np.array([1.0, 10.0, 100.0, 1000.0])) == "▁▃▆█"


@given(floats_of(np.float64, st.integers(0, 200), elements=st.floats(allow_nan=True)))
def test_any_numbers_give_one_character_each(values):
    text = sparkline(values)
    assert len(text) == len(values)
    assert [c == "·" for c in text] == [not np.isfinite(v) for v in values]


@pytest.mark.parametrize(
    ("encoding", "blocks"),
    [("utf-8", BLOCKS), ("ascii", PLAIN_BLOCKS), ("latin-1", PLAIN_BLOCKS), ("?", PLAIN_BLOCKS)],
)
def test_blocks_that_the_terminal_has(encoding, blocks):
    assert blocks_for(encoding) == blocks


def test_a_profile_with_its_range(make):
    text = shown(make(std=[float(n) for n in range(1, 9)]), "std")
    assert line(text, "q_proj") == ["q_proj", BLOCKS, "1", "4.5", "8"]
    assert "layers 0 to 7" in text


def test_several_tensors_of_a_layer_are_their_median(make):
    data = make(std=[1.0, 2.0, 9.0, 4.0], layer_index=[0, 0, 0, 1])
    assert line(shown(data, "std"), "q_proj")[1] == "▁█"


def test_tensors_outside_the_layers(make):
    data = make(std=[1.0, 2.0, 7.0], layer_index=[0, 1, None], block_type=["a", "a", "b"])
    assert line(shown(data, "std"), "b") == ["b", "outside", "the", "layers", "7", "7", "7"]


def test_more_layers_than_fit(make):
    text = shown(make(std=[float(n) for n in range(200)]), "std", width=80)
    assert "a character for 7 layers" in text
    assert len(line(text, "q_proj")[1]) == 29
    assert all(len(row) <= 80 for row in text.splitlines())


def test_ascii_terminals_get_ascii(make):
    text = shown(make(std=[float(n) for n in range(8)]), "std", encoding="ascii")
    assert PLAIN_BLOCKS in text


def test_the_whole_of_a_run(data):
    text = shown(data, "std")
    for words in ("tiny", "safetensors", "rows", "std by layer", "outliers:"):
        assert words in text
    assert "nonfinite" in text
    assert "model.layers.11.mlp.up_proj.weight" in text


def test_quantization_comes_last(make):
    data = make(q4_nrmse=[0.1, 0.3, 0.2], std=[1.0, 1.0, 1.0])
    text = shown(data, "std")
    assert text.index("std by layer") < text.index("q4_nrmse by layer")
    assert text[text.index("most sensitive by q4_nrmse") :].split()[4:8] == [
        *("0.3", "layers.1.w"),
        *("0.2", "layers.2.w"),
    ]


def test_hostile_names_are_harmless(make):
    data = make(
        {"model": {"id": "\x1b]0;title\x07[bold]x[/bold]"}},
        std=[1.0] * 8 + [50.0],
        param_name=["[red]w[/red]\x1b[2J\u202e"] * 9,
        block_type=["\x1b[31m[link=http://x]q[/link]"] * 9,
    )
    text = shown(data, "std", width=200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]w[/red]\\x1b[2J" in text
    assert "[bold]x[/bold]" in text


def test_default_metrics(make):
    assert default_metrics(make(std=[1.0], rank=[2])) == ["std", "rank"]
    assert default_metrics(make(anything=[1.0])) == ["anything"]
    compared = make(relative_change=[0.1], cosine=[1.0], delta_effective_rank=[2.0], std=[1.0])
    assert default_metrics(compared) == ["relative_change", "delta_effective_rank", "cosine"]
