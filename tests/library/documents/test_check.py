"""Planted faults are found, each by its rule in its line, and nothing else is."""

import json
from collections import Counter

import pytest
from models import invoke, refuses
from planted_documents import BODY, FRONT, TITLE, in_body, planted

from mlx_probe.library.documents.check import check_documents
from mlx_probe.library.documents.rules import RULES

OTHER = f"{FRONT.replace('0001', '0002')}# Another page\n\n## A part of it\n\nText.\n"
# Kinds of which five faults each are planted: sixty of twelve kinds.
TWELVE = (
    *("no-title", "no-date", "empty-link", "empty-anchor", "dead-link", "dead-anchor", "todo"),
    *("stale", "unlabelled-fence", "unclosed-fence", "file-name", "table-columns"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sound folder with a run and a model beside it."""
    root = tmp_path_factory.mktemp("planted")
    (root / "run").mkdir()
    (root / "run" / "run_meta.json").write_text('{"kind": "analyze"}')
    (root / "model").mkdir()
    (root / "model" / "model.safetensors").write_bytes(b"weights")
    (root / "docs").mkdir()
    (root / "docs" / "other.md").write_text(OTHER)
    (root / "docs" / "curve.svg").write_text("<svg/>")
    return root


@pytest.fixture(scope="module")
def cases(folder):
    return planted(folder / "run", folder / "model")


def test_what_only_looks_wrong_is_sound(folder):
    path = folder / "docs" / "sound.md"
    path.write_text(f"{FRONT}{TITLE}{BODY}")
    assert check_documents([folder / "docs"]) == []
    path.unlink()


def test_every_planted_fault_is_found_by_its_rule_in_its_line(folder, cases):
    counts = Counter(case.rule for case in cases)
    assert sum(counts[rule] for rule in TWELVE) == 60
    assert all(counts[rule] == 5 for rule in TWELVE)
    assert set(counts) == set(RULES)
    wrong = []
    for case in cases:
        path = folder / "docs" / case.name
        if isinstance(case.text, bytes):
            path.write_bytes(case.text)
        else:
            path.write_text(case.text)
        found = [(each.file, each.line, each.rule) for each in check_documents([folder / "docs"])]
        if found != [(path, case.line, case.rule)]:
            wrong.append((case, found))
        path.unlink()
    assert not wrong, wrong[:3]


def test_a_comment_silences_a_rule_for_the_block_behind_it(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        "# Title\n\n<!-- docs-check: ignore unlabelled-fence, todo -->\n\n```\nx\n```\n\n"
        "```\ny\n```\n\nTODO: this\n"
    )
    assert [(f.line, f.rule) for f in check_documents([path])] == [
        (9, "unlabelled-fence"),
        (13, "todo"),
    ]
    path.write_text(f"<!-- docs-check: ignore-file all -->\n{path.read_text('utf-8')}")
    assert check_documents([path]) == []


def test_a_planted_fault_of_every_kind_can_be_silenced(folder, cases):
    path = folder / "docs" / "silenced.md"
    for case in cases:
        if isinstance(case.text, str) and case.rule not in ("file-name", "directive"):
            path.write_text(f"{case.text}\n\n<!-- docs-check: ignore-file {case.rule} -->\n")
            # Within a fence that nothing ends a comment is no comment.
            expected = [] if case.rule != "unclosed-fence" else ["unclosed-fence"]
            if "behind the list" in case.text:
                expected = []
            assert [f.rule for f in check_documents([path])] == expected, case
    path.unlink()


def test_a_date_is_missed_where_the_documents_beside_have_one(tmp_path):
    (tmp_path / "bare.md").write_text("---\ntitle: Bare\n---\n# Bare\n")
    (tmp_path / "README.md").write_text("# About\n")
    for name in "abc":
        assert check_documents([tmp_path]) == []
        (tmp_path / f"{name}.md").write_text(f"---\ndate: 2026-11-30\n---\n# {name}\n")
    [found] = check_documents([tmp_path])
    assert (found.file.name, found.rule) == ("bare.md", "no-date")


def test_rules_for_projects_leave_other_pages_alone_unless_they_are_named(tmp_path):
    (tmp_path / "page.md").write_text("# One\n\n# Two\n\n#### Four\n\n![](https://example.org)\n")
    assert check_documents([tmp_path]) == []
    found = check_documents([tmp_path], only=("heading-jump", "no-alt"))
    assert [each.rule for each in found] == ["heading-jump", "no-alt"]
    (tmp_path / ".mlx-probe-docs.yaml").write_text("version: 1\nignore: [no-date]\n")
    rules = [each.rule for each in check_documents([tmp_path])]
    assert rules == ["second-title", "heading-jump", "no-alt"]
    (tmp_path / ".mlx-probe-docs.yaml").write_text("exclude: ['pa*.md']\n")
    assert check_documents([tmp_path]) == []


def test_hidden_folders_environments_and_links_to_folders_are_left_out(tmp_path):
    for name in (".git", "env", "node_modules", "deep/er"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "page.md").write_text("no title\n")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "link").symlink_to(tmp_path / "deep", target_is_directory=True)
    assert [f.file for f in check_documents([tmp_path])] == [tmp_path / "deep" / "er" / "page.md"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00",
        "---\n" * 9,
        "---\na: &a [*a, *a]\n---\n# T\n",
        "[" * 3000,
        "<" * 3000 + "![" * 300,
        "# T\n\n[x](%00) [y](" + "a" * 5000 + ") ![z](\x07)",
        "> " * 200 + "x",
        "# T\n\n[x](//host) [y](C:\\x) [z](a.md?b#c) [w](/../../etc)\n<!-- docs-check:",
        "|" * 500 + "\n" + "|-" * 500,
    ],
)
def test_hostile_documents_end_no_check(tmp_path, text):
    (tmp_path / "page.md").write_text(text)
    check_documents([tmp_path])


def test_the_command_prints_lines_and_says_by_its_exit_code(folder, tmp_path):
    case = in_body("dead-link", "[gone](gone.md)")
    (folder / "docs" / "bad.md").write_text(case.text)
    result = invoke("docs", "check", folder / "docs")
    assert result.exit_code == 1
    assert (
        f"{folder / 'docs' / 'bad.md'}:{case.line}: dead-link the link leads to no file: gone.md"
        in (result.stdout)
    )
    said = invoke("docs", "check", folder / "docs", "--json")
    assert said.exit_code == 1
    [entry] = json.loads(said.stdout)
    assert entry == {
        "file": str(folder / "docs" / "bad.md"),
        "line": case.line,
        "rule": "dead-link",
        "message": "the link leads to no file: gone.md",
    }
    chinese = invoke("docs", "check", folder / "docs", MLX_PROBE_LANG="zh")
    assert "链接的目标文件不存在：gone.md" in chinese.stdout
    ignored = invoke("docs", "check", folder / "docs", "--ignore", "dead-link", "--json")
    assert (ignored.exit_code, json.loads(ignored.stdout)) == (0, [])
    (folder / "docs" / "bad.md").unlink()
    refuses(invoke("docs", "check", folder, "--rule", "dead-lnk"), "'dead-link'", code=2)
    refuses(invoke("docs", "check", tmp_path / "gone"), "no file or folder", code=2)
    assert "No documents" in invoke("docs", "check", tmp_path).stdout
