"""Listings of a line for each tensor look like rich's tables, and take none of its time."""

import io

import pytest
from rich import box
from rich.console import Console
from rich.table import Table

from mlx_probe.report.terminal.listing import Heading, Listing

HEADINGS = (Heading("name"), Heading("role", most=12), Heading("层", is_number=True))
ROWS = [
    ("model.layers.0.mlp.experts.252.down_proj.weight", "down_proj", "0"),
    ("model.norm.weight", "norm", ""),
    ("[red]x[/]", "汉字", "61"),
]


def text_of(renderable, width):
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def by_rich():
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading.text, justify="right" if heading.is_number else "left")
    for row in ROWS:
        table.add_row(*row)
    return table


def test_it_looks_like_a_table_of_rich():
    assert text_of(Listing(HEADINGS, ROWS), 200) == text_of(by_rich(), 200)


@pytest.mark.parametrize("width", [70, 45, 30])
def test_long_names_break_where_lines_are_short(width):
    lines = text_of(Listing(HEADINGS, ROWS), width)
    assert max(map(len, lines)) <= width
    first = [line[1 : 1 + width] for line in lines[3:]]
    name = "".join(line.split("   ")[0].strip() for line in first)
    assert name.startswith(ROWS[0][0])


def test_a_role_has_the_room_that_it_may_take():
    lines = text_of(Listing(HEADINGS, [("a", "cross_attention", "1")]), 200)
    assert [line.split() for line in lines[3:5]] == [["a", "cross_", "1"], ["attention"]]


def test_rich_sees_a_row_once(monkeypatch):
    """Its tables measure, wrap and pad every cell, which took 20 s for DeepSeek-V3."""
    made = []
    monkeypatch.setattr("rich.text.Text.__init__", lambda self, *_, **__: made.append(self))
    console = Console(file=io.StringIO(), width=200)
    segments = list(console.render(Listing(HEADINGS, ROWS * 100)))
    assert len(segments) < 310
    assert not made
