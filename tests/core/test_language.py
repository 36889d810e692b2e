import json
from string import Formatter

import pytest
from project import ROOT

from mlx_probe.core.language import LANGUAGES, VARIABLE, catalog, language, tr

WORDS = ROOT / "mlx_probe" / "core" / "words"
SYSTEM = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture
def environment(monkeypatch):
    for name in (VARIABLE, *SYSTEM):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (VARIABLE, "zh", "zh"),
        (VARIABLE, "zh_CN.UTF-8", "zh"),
        (VARIABLE, "zh-Hans-CN", "zh"),
        (VARIABLE, "fr", "en"),
        ("LANG", "zh_TW.UTF-8", "zh"),
        ("LANG", "C.UTF-8", "en"),
        ("LANGUAGE", "fr:zh:en", "zh"),
        ("LC_ALL", "zh.GB18030", "zh"),
    ],
)
def test_the_language_is_that_of_the_environment(environment, name, value, expected):
    environment(name, value)
    assert language() == expected


def test_our_variable_wins_over_the_system(environment):
    environment("LANG", "zh_CN.UTF-8")
    environment(VARIABLE, "en")
    assert language() == "en"


def test_without_a_setting_it_is_english(environment):
    assert language() == "en"


def test_values_are_put_into_the_translation(environment):
    environment(VARIABLE, "zh")
    assert tr("Error: {message}", message="x") == "错误：x"
    assert tr("a text without an entry, {count}", count=3) == "a text without an entry, 3"


def fields(text):
    return sorted({name for _, name, _, _ in Formatter().parse(text) if name is not None})


@pytest.mark.parametrize("path", sorted(WORDS.rglob("*.json")), ids=lambda path: path.name)
def test_a_catalog_is_in_order(path):
    """Sorted, so that two changes seldom meet in one line; translations keep every field."""
    text = path.read_text("utf-8")
    entries = json.loads(text)
    assert text == json.dumps(entries, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    for english, translated in entries.items():
        assert fields(english) == fields(translated), english


@pytest.mark.parametrize("name", LANGUAGES[1:])
def test_files_of_a_language_agree(name):
    for path in (WORDS / name).iterdir():
        for english, translated in json.loads(path.read_text("utf-8")).items():
            assert catalog(name)[english] == translated, f"{path.name}: {english}"
