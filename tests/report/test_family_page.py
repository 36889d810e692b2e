"""The tree of several models, for a terminal and as a page."""

import io

import pytest
from html_pages import HOSTILE_NAME, Page
from rich.console import Console

from mlx_probe.analysis.lineage.family_records import Descent, Family, Member, Tree
from mlx_probe.analysis.lineage.merge_records import GroupWeights, MergeWeights, Part
from mlx_probe.analysis.lineage.records import Relation
from mlx_probe.report.html import family_page
from mlx_probe.report.html.family_page import family_html
from mlx_probe.report.terminal.family import family_text, part_text


def relation(a, b, name="finetune", parent=None):
    return Relation(a, b, name, 0.99, 0.999, (), parent=parent, reason="the reason")


def a_family(uniform="all", child="merged", left_out=None):
    parts = Part("a", 0.7, 2e-4), Part("b", 0.3, 2e-4)
    merge = MergeWeights(
        child=child, parents=("a", "b"), base=None, method="linear", probability=0.98,
        parts=parts if uniform == "all" else (), total=None, total_error=None,
        groups=(GroupWeights(0, "mlp", parts, 3, 1.0), GroupWeights(None, "norm", parts, 1, 1.0)),
        uniform=uniform, residual=1.0, fitting=1.0, explained=None, tensors=4, same=0,
        left_out={}, why=("a weighted sum is off by 1 times what rounding makes",),
    )  # fmt: skip
    edges = (
        Descent("a", child, "merge", 0.98, True, 0.7),
        Descent("b", child, "merge", 0.98, True, 0.3),
        Descent("a", "b", "finetune", 0.97, False),
    )
    trees = (
        Tree(("a", "b", child), ("a",), False, edges),
        Tree(("alone",), ("alone",), True, ()),
    )
    names = ("a", "b", child, "alone")
    members = tuple(Member(name, f"/models/{name}", 10**9, 4, 2 * 10**9) for name in names)
    relations = (
        relation("a", "b"),
        relation("a", child, "merge", "a"),
        relation("b", child, "merge", "a"),
        relation("a", "alone", "unrelated"),
    )
    return Family(members, relations, (merge,), trees, left_out or {})


def printed(family, width=120):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(family_text(family))
    return console.file.getvalue()


def test_the_tree_in_a_terminal():
    lines = printed(a_family()).splitlines()
    assert lines[:4] == [
        "a (1 B parameters, 2.0 GB)",
        "├── 0.7 of a merge 98.00 %: merged (1 B parameters, 2.0 GB)",
        "└── finetune * 97.00 %: b (1 B parameters, 2.0 GB)",
        "    └── 0.3 of a merge 98.00 %: merged (1 B parameters, 2.0 GB) (see there)",
    ]
    text = "\n".join(lines)
    assert "merged = 0.7000 ± 0.0002 a, 0.3000 ± 0.0002 b" in text
    assert "unrelated pairs: 1" in text
    assert "* nearest of kin" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    family = a_family("layer", "m" * 70, {"z" * 70: "the file is damaged"})
    assert max(map(len, printed(family, width).splitlines())) <= width


def test_weights_by_layer_are_a_table():
    text = printed(a_family("layer"))
    assert "with weights by layer" in text
    assert any(line.split() == ["0", "mlp", "0.700", "±", "0.0002", "0.300", "±", "0.0002"]
               for line in text.splitlines())  # fmt: skip
    assert "with weights by tensor" in printed(a_family("tensor"))


def test_digits_follow_the_error():
    assert part_text(Part("m", 0.123456, 0.01)) == "0.12 ± 0.01 m"
    assert part_text(Part("m", 0.123456, 3e-9)) == "0.123456 ± 3e-09 m"
    assert part_text(Part("m", 0.5, 0.4)) == "0.50 ± 0.4 m"


def test_the_page():
    page = Page(family_html(a_family("layer", left_out={"broken": "it is damaged"})))
    assert page.scripts == []
    assert sum(tag == "rect" for tag, _ in page.elements) == 3
    loose = [attrs for tag, attrs in page.elements if tag == "path" and attrs.get("class")]
    assert len(loose) == 1
    text = " ".join(page.text)
    for said in ("Related to none of the others: alone", "0.700 ± 0.0002", "it is damaged"):
        assert said in text
    regions = [attrs for tag, attrs in page.elements if attrs.get("role") == "region"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)
    assert not [a for _, a in page.elements if "src" in a or str(a.get("href", "")).startswith("h")]


def test_names_are_text():
    page = Page(family_html(a_family(child=HOSTILE_NAME)))
    assert page.scripts == []
    assert HOSTILE_NAME in " ".join(page.text)
    assert HOSTILE_NAME in printed(a_family(child=HOSTILE_NAME), 200)


def test_too_many_boxes_are_not_drawn(monkeypatch):
    monkeypatch.setattr(family_page, "_MOST_BOXES", 2)
    monkeypatch.setattr(family_page, "_MOST_PAIRS", 2)
    page = Page(family_html(a_family()))
    assert not any(tag == "rect" for tag, _ in page.elements)
    assert "and 2 more" in " ".join(page.text)
