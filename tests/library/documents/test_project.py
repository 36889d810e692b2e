"""Projects of documents: made, added to, indexed; nothing is ever replaced."""

import json
import multiprocessing
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import invoke, refuses

from mlx_probe.cli.docs.new import _KINDS
from mlx_probe.cli.docs.rules import _ASSISTANTS
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import LANGUAGES
from mlx_probe.library.documents.assistant_rules import ASSISTANTS
from mlx_probe.library.documents.check import check_documents
from mlx_probe.library.documents.front_matter import read_front_matter
from mlx_probe.library.documents.making import NewDocument, make_document, make_project
from mlx_probe.library.documents.naming import file_stem, words_of
from mlx_probe.library.documents.project import KINDS
from mlx_probe.library.documents.templates import front_matter_text
from mlx_probe.library.documents.writing import append_line

DAY = date(2026, 11, 30)


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(tmp_path / "data" / "catalog.sqlite"))


@pytest.fixture(params=LANGUAGES)
def project(request, tmp_path):
    return make_project(tmp_path / "notes", request.param, "Ranks, and what they mean")[0]


def rules_of(paths, **settings):
    return {each.rule for each in check_documents(paths, **settings)}


def test_choices_are_those_of_the_tables():
    assert tuple(KINDS) == _KINDS
    assert tuple(ASSISTANTS) == _ASSISTANTS


def test_a_new_project_is_sound_and_made_once(project):
    assert check_documents([project.folder]) == []
    (project.folder / "index.md").write_text("mine")
    (project.folder / "log.md").unlink()
    again, made = make_project(project.folder, "en")
    assert (again, made) == (project, [project.folder / "log.md"])
    assert (project.folder / "index.md").read_text() == "mine"


def test_of_a_new_document_nothing_is_wrong_but_what_is_left_to_be_written(project):
    for kind in KINDS:
        path = make_document(project, NewDocument(kind, f"My {kind}: *first* `try`", DAY))
        assert path.parent == project.folder / KINDS[kind].folder
        assert path.name == path.name.lower()
        front = read_front_matter(path.read_text("utf-8"))
        assert front.text("kind") == kind
        assert front.text("title") == f"My {kind}: *first* `try`"
        assert (front.text("date"), front.text("status")) == ("2026-11-30", "draft")
        assert front.text("id").startswith(f"{KINDS[kind].prefix}_20261130_my_{kind}")
        assert rules_of([path]) == {"todo"}
        before = path.read_text("utf-8")
        refuses(
            invoke("docs", "new", kind, f"My {kind}: first try", "--dir", project.folder,
                   "--date", "2026-11-30"),
            "is there already",
        )  # fmt: skip
        assert path.read_text("utf-8") == before
        # Every prompt of the template is one line that the check shows.
        assert len(check_documents([path])) == before.count("TODO")
        path.write_text(before.replace("TODO", "Done"))
    assert check_documents([project.folder]) == []


def test_the_index_lists_documents_by_kind_and_keeps_what_is_beside(project):
    for kind, title in (("lesson", "Warm up | longer"), ("experiment", "A [first] run")):
        make_document(project, NewDocument(kind, title, DAY))
    make_document(project, NewDocument("experiment", "Later", date(2026, 12, 1)))
    path = project.folder / "index.md"
    path.write_text(path.read_text("utf-8") + "\nMy own words.\n")
    result = invoke("docs", "index", "--dir", project.folder, "--json")
    listed = json.loads(result.stdout)
    titles = [entry["title"] for entry in listed["documents"]]
    assert listed["changed"]
    assert titles == ["Later", "A [first] run", "Warm up | longer"]
    text = path.read_text("utf-8")
    assert text.endswith("\nMy own words.\n")
    assert re.findall(r"\]\((\S+)\)", text) == [
        "experiments/2026-12-01_later.md",
        "experiments/2026-11-30_a_first_run.md",
        "lessons/2026-11-30_warm_up_longer.md",
    ]
    assert check_documents([path]) == []
    assert not json.loads(invoke("docs", "index", "--dir", path.parent, "--json").stdout)["changed"]
    path.write_text("# Without marks\n")
    refuses(invoke("docs", "index", "--dir", path.parent), "does not say where the list goes")
    assert path.read_text("utf-8") == "# Without marks\n"


def test_a_stale_document_is_found_when_its_run_changes(project, tmp_path):
    (tmp_path / "run_meta.json").write_text("{}")
    from mlx_probe.library.documents.subjects import run_sha256

    entries = {"run": "../..", "run_sha256": run_sha256(tmp_path)}
    path = make_document(project, NewDocument("lesson", "Of a run", DAY, entries))
    assert "stale" not in rules_of([path])
    (tmp_path / "run_meta.json").write_text('{"changed": true}')
    assert "stale" in rules_of([path])
    (tmp_path / "run_meta.json").unlink()
    assert rules_of([path]) == {"todo", "missing-subject"}


def add_lines(path, name, count):
    for number in range(count):
        append_line(path, f"{name} {number} " + "x" * 500)


def test_lines_of_several_processes_are_whole(tmp_path):
    log = tmp_path / "log.md"
    log.write_text("# Log, whose last line has no end")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add_lines, args=(log, n, 50)) for n in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    first, *lines = log.read_text().splitlines()
    assert first == "# Log, whose last line has no end"
    assert sorted(lines) == sorted(f"{n} {i} " + "x" * 500 for n in "abc" for i in range(50))


def test_the_log_gets_a_line_with_a_date(project):
    result = invoke("docs", "log", "two\nlines", "and more", "--dir", project.folder)
    assert result.exit_code == 0, result.output
    last = (project.folder / "log.md").read_text("utf-8").splitlines()[-1]
    assert re.fullmatch(r"- \d{4}-\d\d-\d\d \d\d:\d\d two lines and more", last)
    refuses(invoke("docs", "log", " \n", "--dir", project.folder), "nothing to write", code=2)


def test_a_folder_that_is_no_project_is_refused_with_what_to_do(tmp_path):
    for words in (("index",), ("log", "x"), ("new", "lesson", "x"), ("rules",)):
        said = refuses(invoke("docs", *words, "--dir", tmp_path), "is no project", code=2)
        assert "docs init" in said
    make_project(tmp_path / "a", "en")
    refuses(invoke("docs", "init", tmp_path / "a" / "b"), "inside of the project", code=2)
    (tmp_path / "a" / ".mlx-probe-docs.yaml").write_text("version: 7\n")
    refuses(invoke("docs", "index", "--dir", tmp_path / "a"), "version '7'", code=2)
    (tmp_path / "a" / ".mlx-probe-docs.yaml").write_text("langage: en\n")
    refuses(invoke("docs", "check", tmp_path / "a"), "unknown key 'langage'", code=2)
    said = refuses(
        invoke("docs", "new", "lesson", "x", "--run", "y", "--dir", tmp_path), "--run", code=2
    )
    assert "docs new experiment" in said


def test_titles_become_names(tmp_path):
    assert file_stem("experiment", "  Rank & Größe: v2 ", DAY) == "2026-11-30_rank_größe_v2"
    assert file_stem("model", "Qwen/Qwen3-0.6B", DAY) == "qwen_qwen3_0_6b"
    assert words_of("学习率太大") == "学习率太大"
    assert words_of("a" * 99) == "a" * 60
    with pytest.raises(ConfigError, match="no letters"):
        words_of("../..")


@given(st.text(min_size=1))
def test_a_title_never_leaves_its_folder(title):
    try:
        words = words_of(title)
    except ConfigError:
        return
    assert words
    assert re.fullmatch(r"\w+", words)
    assert len(words) <= 60


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(min_size=1)))
def test_front_matter_reads_back(entries):
    # What has no text of its own, such as blanks alone, is none.
    entries = {key: value.strip() for key, value in entries.items() if value.strip()}
    entries = {k: v for k, v in entries.items() if not re.search("[\ud800-\udfff]", v)}
    front = read_front_matter(front_matter_text(entries))
    assert {key: front.text(key) for key in entries} == entries
