"""What `make docs` writes is in the pages as it would be written now."""

import pytest
from pages import CHINESE, GENERATED, NAMES, README, page
from project import ROOT

from mlx_probe.cli.generated_docs import GENERATED as NOTE
from mlx_probe.cli.generated_docs import generated, rendered, stamped

PAGES = {str(path.relative_to(ROOT)): text for path, text in generated(ROOT).items()}


@pytest.mark.parametrize("name", [name for name in NAMES if name != README])
def test_a_page_is_up_to_date(name):
    assert page(name).text == PAGES[name], "run `make docs`"


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_says_so(name):
    assert page(name).text.startswith(f"{NOTE}\n\n# ")


def test_translations_render_the_english_pages_as_they_are():
    behind = [n for n in CHINESE if page(n).text != stamped(ROOT / n, ROOT)]
    assert not behind, (
        f"translate what changed, then `python -m mlx_probe.cli.generated_docs --stamp` {behind}"
    )


def test_translations_have_the_names_of_their_originals():
    for name in CHINESE:
        original, _ = rendered(page(name).text)
        assert original == name.replace("docs/zh/", "docs/en/")
