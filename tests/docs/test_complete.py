"""Nothing that a user can name is missing from the documentation."""

import re
from dataclasses import fields

import click
import pytest
from pages import ENGLISH, WRITTEN, page
from project import ROOT

from mlx_probe.analysis.columns import table_columns
from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.cli.generated_docs import contexts
from mlx_probe.cli.recipe_tables import key_meanings
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.compute.spectrum.methods import METHODS
from mlx_probe.core.formats import FORMATS
from mlx_probe.lab.settings import read_settings, settings_to_dict
from mlx_probe.lab.train.config import Recipe
from mlx_probe.library.environments import MAKERS
from mlx_probe.library.environments.probes import PROBES
from mlx_probe.metrics import METRICS
from mlx_probe.runs.table import WRITERS
from mlx_probe.source import SOURCES
from mlx_probe.source.stores import STORES

COMMANDS = [ctx for ctx in contexts() if ctx.parent]
WRITTEN_TEXT = "\n".join(page(name).text for name in WRITTEN)
# Words in code: `rank`, `--metrics full`, and lines of blocks; and headings, which name a column.
CODE = " ".join(
    [*re.findall(r"`([^`\n]+)`", WRITTEN_TEXT), *re.findall(r"^#+ (.+)$", WRITTEN_TEXT, re.M)]
    + [block for name in WRITTEN for _, block in page(name).blocks]
)
WORDS = set(re.findall(r"[\w.-]+", CODE))


def test_every_command_is_on_a_page_that_somebody_wrote():
    lines = " ".join(CODE.split())
    missing = []
    for ctx in COMMANDS:
        _, *words = ctx.command_path.split()
        if not re.search(rf"\b{' '.join(words)}\b", lines):
            missing.append(ctx.command_path)
    assert not missing


@pytest.mark.parametrize("ctx", COMMANDS, ids=[ctx.command_path for ctx in COMMANDS])
def test_every_option_is_in_the_chapter_of_its_command(ctx):
    text = page("docs/en/command-line.md").text
    _, _, chapter = text.partition(f"# {ctx.command_path}\n")
    chapter = chapter.split("\n#")[0]
    for option in ctx.command.params:
        if isinstance(option, click.Option):
            for name in (*option.opts, *option.secondary_opts):
                assert re.search(rf"{name}[ ,`]", chapter), name


NAMED = {
    "column": [c.name for c in table_columns([metric.column for metric in METRICS])],
    "column of compare": [
        column.name for column in COLUMNS if not column.name.startswith("delta_")
    ],
    "side table": SIDES,
    "suffix": [suffix for form in FORMATS.values() for suffix in form.suffixes],
    "packing": PACKINGS,
    "backend": BACKENDS,
    "writer": WRITERS,
    "spectrum method": METHODS,
    "store": STORES,
    "maker": MAKERS,
    "probe": PROBES,
}


@pytest.mark.parametrize("kind", NAMED)
def test_every_member_of_a_table_is_on_a_page_that_somebody_wrote(kind):
    missing = [name for name in NAMED[kind] if name not in WORDS]
    assert not missing


@pytest.mark.parametrize("name", SOURCES)
def test_every_form_of_a_source_is_on_a_page_that_somebody_wrote(name):
    assert all(f"`{text}`" in WRITTEN_TEXT for form in SOURCES[name].forms for text in form.texts)


def test_every_column_is_on_the_page_of_the_columns():
    text = page("docs/en/columns.md").text
    sides = [column for side in SIDES.values() for column in side.columns]
    for column in (*table_columns([metric.column for metric in METRICS]), *COLUMNS, *sides):
        assert f"| `{column.name}` | `{column.type}` | {column.unit} |" in text


def test_every_environment_variable_is_on_the_page_of_the_configuration():
    paths = (ROOT / "mlx_probe").rglob("*.py")
    code = "\n".join(path.read_text("utf-8") for path in paths)
    read = set(re.findall(r'"(MLX_PROBE_[A-Z_]+)"', code))
    read |= set(re.findall(r'environ\.get\("(\w+)"', code))
    assert {"MLX_PROBE_CACHE", "HF_ENDPOINT"} <= read
    text = page("docs/en/configuration.md").text
    assert not {name for name in read if f"`{name}`" not in text}


def test_pages_use_plain_words():
    text = "\n".join(page(name).text for name in ENGLISH).lower()
    # Names in code are not prose: early stopping's `patience` is the field's term.
    text = re.sub(r"`[^`\n]+`", "", text)
    for word in ("course", "crew", "patience", "supply", "errand", "onlooker"):
        assert not re.search(rf"\b{word}\b", text), word


@pytest.mark.parametrize("section", fields(Recipe), ids=lambda section: section.name)
def test_every_key_of_a_recipe_has_a_meaning_and_a_row(section):
    kind = type(getattr(Recipe(), section.name))
    keys = [field.name for field in fields(kind)]
    assert list(key_meanings(kind)) == keys
    text = page("docs/en/configuration.md").text
    defaults = settings_to_dict(Recipe())[section.name]
    for key, meaning in key_meanings(kind).items():
        row = re.search(rf"^\| `{section.name}\.{key}` \| `(.*)` \| (.*) \|$", text, re.M)
        assert row[2] == meaning
        # What the page says is what a file with this value gives.
        assert (
            settings_to_dict(read_settings(Recipe, None, [f"{section.name}.{key}={row[1]}"]))[
                section.name
            ]
            == defaults
        )
