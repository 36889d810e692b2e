"""Findings and summary in the terminal and on the page."""

from dataclasses import replace

import pytest
from models import arrays, invoke, tiny, whole  # noqa: F401  fixtures
from rich.console import Console

from mlx_probe.analysis.findings import FINDINGS, Finding, Text
from mlx_probe.report.html import report_html
from mlx_probe.report.summary import summary_facts
from mlx_probe.report.terminal.findings import findings_text

EVIL = "<img src=x onerror=alert(1)>[bold]"


def finding(severity="note", rows=("a.weight",)):
    sentence = Text("{name} is unusual.", {"name": rows[0]})
    evidence = {"share": [0.123456, 1.0], "rank": None, "count": 3}
    return Finding(severity, sentence, rows, evidence, Text("Look at it."), 0.5, "spikes")


def printed(*arguments, **settings):
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(findings_text(*arguments, **settings))
    return captured.get()


def test_a_clean_model_is_told_so_in_one_sentence():
    assert printed([]).split("\n")[1].strip().endswith("rules names a tensor.")


def test_all_have_what_to_do_and_the_first_tensors():
    text = printed([finding("high", ("a", "b", "c", "d", "e"))])
    assert text.split("\n")[1].strip().startswith("high")
    assert "Look at it." in text
    assert "Tensors: a, b, c and 2 more" in text


def test_a_few_have_one_line_each_and_the_command_for_the_others():
    text = printed([finding()] * 7, most=5, run="data/run")
    assert text.count("is unusual") == 5
    assert "Look at it" not in text
    assert "and 2 more: mlx-probe findings data/run" in text


def test_names_are_no_markup():
    assert EVIL.split("[")[0] in printed([finding(rows=(EVIL, "b"))])


def test_the_page_begins_with_them(data):
    page = report_html(replace(data, findings=[finding("high", (EVIL, "b")), finding()]))
    body = page[page.index("<main>") :]
    assert body.index('id="findings"') < body.index('id="model"')
    assert "<img src=x" not in page
    assert 'href="#at=spectra&amp;tensor=a.weight"' in page
    assert "share [0.1235, 1.0], count 3" in page.replace("&quot;", '"')
    assert '<a href="#findings">Findings</a>' in page


def test_a_clean_page_says_so(data):
    page = report_html(replace(data, findings=[]))
    assert f"none of the {len(FINDINGS)} rules names a tensor" in page


def test_a_comparison_has_no_such_section(data):
    page = report_html(replace(data, findings=None, summary=None))
    assert 'id="findings"' not in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_commands_end_and_begin_with_them(whole, tiny, tmp_path, language):  # noqa: F811
    heading = {"en": "Findings", "zh": "发现"}[language]
    settings = {"MLX_PROBE_LANG": language}
    ended = invoke("analyze", tiny, "--out", tmp_path / "out", "--metrics", "basic", **settings)
    lines = ended.output.split("\n")
    assert heading in lines
    assert lines.index(heading) > len(lines) / 2
    shown = invoke("report", whole.folder, "--terminal", **settings).output
    assert f"\n{heading}\n" in shown
    assert ("mean alpha" if language == "en" else "平均 alpha") in shown


def test_the_facts_of_a_summary_leave_out_what_it_lacks(data):
    lacking = {name: None for name in data.summary if name != "parameters"}
    facts = summary_facts({**lacking, "parameters": {"total": 1000, "mlp": 900, "norm": 100}})
    assert facts == {"parameters by part": "mlp 900, norm 100"}
    assert len(summary_facts(data.summary)) == 5
