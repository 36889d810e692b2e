"""Rules for coding assistants: one source, and files that are known to be as it is or not."""

import json

import pytest
from models import invoke, refuses

from mlx_probe.library.documents.check import check_documents
from mlx_probe.library.documents.front_matter import read_front_matter
from mlx_probe.library.documents.making import make_project


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(tmp_path / "data" / "catalog.sqlite"))
    make_project(tmp_path / "my notes", "en")
    return tmp_path / "my notes"


def rules(folder, *words):
    return invoke("docs", "rules", "--dir", folder, *words)


def states(folder, *words):
    result = rules(folder, "--check", "--json", *words)
    found = {entry["file"].rpartition("/")[2]: entry["state"] for entry in
             json.loads(result.stdout)["files"]}  # fmt: skip
    assert result.exit_code == (1 if set(found.values()) - {"current"} else 0)
    return found


def test_every_assistant_gets_all_sections(folder):
    assert rules(folder).exit_code == 0
    sections = [
        line for line in (folder / "rules.md").read_text().splitlines() if line[:3] == "## "
    ]
    for name in ("AGENTS.md", "CLAUDE.md"):
        text = (folder / name).read_text()
        assert [line for line in text.splitlines() if line[:3] == "## "] == sections
        assert "For files that match `**/*.py`:" in text
    files = sorted((folder / ".cursor" / "rules").glob("*.mdc"))
    heads = {line for file in files for line in file.read_text().splitlines() if line[:3] == "## "}
    assert heads == set(sections)
    imports = (folder / ".cursor" / "rules" / "imports.mdc").read_text()
    front = read_front_matter(imports.replace("globs: **", "globs: x**"))
    assert front.entries == {"description": "Imports", "alwaysApply": "false", "globs": "x**/*.py"}
    assert "<!-- globs" not in imports
    assert set(states(folder).values()) == {"current"}
    assert check_documents([folder]) == []
    # Nothing is written twice.
    assert json.loads(rules(folder, "--json").stdout)["written"] == []


def test_files_that_are_older_than_the_rules_are_found(folder):
    assert states(folder) == {}  # nobody uses one
    assert states(folder, "--for", "claude") == {"CLAUDE.md": "missing"}
    rules(folder)
    source = folder / "rules.md"
    source.write_text(source.read_text().replace("## Naming", "## Names"))
    found = states(folder)
    assert found["AGENTS.md"] == found["imports.mdc"] == "older"
    assert (found["names.mdc"], found["naming.mdc"]) == ("missing", "left over")
    wrong = {(each.file.name, each.rule) for each in check_documents([folder])}
    assert wrong == {("AGENTS.md", "stale"), ("CLAUDE.md", "stale"), ("rules.md", "stale")}
    rules(folder)
    assert set(states(folder).values()) == {"current"}
    assert not (folder / ".cursor" / "rules" / "naming.mdc").exists()
    assert check_documents([folder]) == []


def test_what_somebody_wrote_is_not_replaced(folder):
    (folder / "AGENTS.md").write_text("# My own\n")
    refuses(rules(folder, "--for", "agents"), "was not written from rules")
    assert (folder / "AGENTS.md").read_text() == "# My own\n"
    rules(folder, "--for", "claude")
    text = (folder / "CLAUDE.md").read_text()
    (folder / "CLAUDE.md").write_text(f"{text}- one more\n")
    assert states(folder, "--for", "claude") == {"CLAUDE.md": "edited"}
    [found] = check_documents([folder / "CLAUDE.md"])
    assert (found.rule, found.message[:14]) == ("stale", "edited by hand")
    refuses(rules(folder, "--for", "claude"), "was edited by hand")
    assert rules(folder, "--for", "claude", "--overwrite").exit_code == 0
    assert (folder / "CLAUDE.md").read_text() == text


def test_files_elsewhere_know_their_source(folder, tmp_path):
    out = tmp_path / "code"
    assert rules(folder, "--for", "claude", "--out", out).exit_code == 0
    assert check_documents([out]) == []
    (folder / "rules.md").write_text("# Rules\n\nNew ones.\n")
    assert [each.rule for each in check_documents([out])] == ["stale"]
    (folder / "rules.md").unlink()
    assert "are not there" in check_documents([out])[0].message
    refuses(rules(folder), "there are no rules", code=2)
