"""`make docs` and the stamps of translations."""

import pytest
from click.testing import CliRunner

from mlx_probe.cli import GROUPS
from mlx_probe.cli.generated_docs import GENERATED, command_line_page, rendered, write_docs
from mlx_probe.report.docs import page_hash


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a page in two languages, in the current folder."""
    for language in ("en", "zh"):
        (tmp_path / "docs" / language).mkdir(parents=True)
    original = "# Page\n\n<!-- table: METHODS -->\n<!-- /table -->\n"
    (tmp_path / "docs/en/page.md").write_text(original)
    (tmp_path / "docs/zh/page.md").write_text("# 页\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*arguments):
    result = CliRunner().invoke(write_docs, arguments)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_all_pages_are_written_once(project):
    assert len(write()) == 5
    assert "gram_f64" in (project / "docs/en/page.md").read_text()
    for name in ("columns", "command-line"):
        assert (project / f"docs/en/{name}.md").read_text().startswith(GENERATED)
    assert write() == []


def test_a_stamp_is_the_first_line_and_replaces_an_older_one(project):
    page = project / "docs/zh/page.md"
    for words in ("# Page\n", "# Page\n\nMore.\n"):
        original = project / "docs/en/page.md"
        original.write_text(words)
        assert rendered(page.read_text()) != ("docs/en/page.md", page_hash(words))
        assert write("--stamp", "docs/zh/page.md") == ["docs/zh/page.md"]
        assert rendered(page.read_text()) == ("docs/en/page.md", page_hash(words))
        first, *rest = page.read_text().splitlines()
        assert first.startswith("<!-- renders docs/en/page.md sha256:")
        assert rest == ["# 页"]


def test_a_page_without_a_stamp_renders_nothing():
    assert rendered("# 页\n") is None


def test_the_command_line_has_a_chapter_for_each_command_in_the_order_of_the_help():
    lines = command_line_page().splitlines()
    chapters = [line.removeprefix("## mlx-probe ") for line in lines if line.startswith("## mlx")]
    assert chapters == [name for commands in GROUPS.values() for name in commands]
    assert "### mlx-probe catalog scan" in lines
