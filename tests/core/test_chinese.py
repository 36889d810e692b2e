"""Every text that a person reads has its Chinese, and no catalog has a text that is nowhere."""

import json
import re
from string import Formatter

import pytest
import texts

from mlx_probe.core.language import VARIABLE, catalog
from mlx_probe.core.messages import templates, translated
from mlx_probe.report.terminal.wrapping import cells

CHINESE = catalog("zh")
# Texts of click, whose versions differ, and of the operating system.
ELSEWHERE = ("click.json", "system.json")


@pytest.fixture(autouse=True)
def chinese(monkeypatch):
    monkeypatch.setenv(VARIABLE, "zh")


def lacking(wanted):
    """As JSON, to be filled in and put into a catalog."""
    return json.dumps(dict.fromkeys(sorted(wanted), ""), ensure_ascii=False, indent=1)


@pytest.mark.parametrize("kind", ["spoken", "told", "named", "tabled", "described"])
def test_every_text_has_its_chinese(kind):
    wanted = set(getattr(texts, kind)()) - CHINESE.keys()
    assert not wanted, lacking(wanted)


def test_help_has_its_chinese():
    """A template with a list in it begins with words of its own: others take any text by chance."""
    lists = [template for template in templates("zh") if not template.text.startswith("{")]
    wanted = {
        text
        for text in texts.helped() - CHINESE.keys()
        if all(template.values(text) is None for template in lists)
    }
    assert not wanted, lacking(wanted)


def test_a_message_is_recognized_by_its_template():
    """No other template takes it, and its values come through."""
    for text in texts.told().keys() & CHINESE.keys():
        names = [name for _, name, _, _ in Formatter().parse(text)] if "{0}" in text else []
        values = [f"7.gguf{n}" for n, name in enumerate(filter(None, names))]
        if values:
            assert translated(text.format(*values)) == CHINESE[text].format(*values), text


def test_a_template_says_enough():
    """One of few letters would take texts that are something else."""
    assert [t.text for t in templates("zh") if len(re.findall("[A-Za-z]", t.text)) < 2] == []


def test_no_entry_is_dead():
    helped = texts.helped()
    from_source = (
        helped | texts.spoken() | texts.told().keys() | texts.described() | texts.anywhere()
    )
    # Help with a list in it has a template.
    templated = {
        template.text
        for template in templates("zh")
        for text in helped - CHINESE.keys()
        if template.values(text) is not None
    }
    words = texts.PACKAGE / "core" / "words" / "zh"
    for name in ELSEWHERE:
        from_source |= json.loads((words / name).read_text("utf-8")).keys()
    dead = CHINESE.keys() - from_source - templated
    assert not dead, sorted(dead)


def test_punctuation_is_chinese():
    """Between Chinese characters stand no commas, colons and full stops of English."""
    wrong = [text for text in CHINESE.values() if re.search(r"[\u4e00-\u9fff][,:;!?](?! 值)", text)]
    assert not wrong, wrong


def test_wide_characters_are_counted():
    assert cells(CHINESE["Options"]) == 4
