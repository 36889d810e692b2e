"""The tools: typed arguments, bounded results, errors as a fact and a remedy."""

# No postponed annotations: the SDK reads types and descriptions from them.
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from typing import Annotated, Any, Literal

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from typing_extensions import TypedDict

from mlx_probe.analysis.compare_runs import compare_runs
from mlx_probe.analysis.explain import explain
from mlx_probe.analysis.findings import SEVERITIES, findings_of
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.errors import ProbeError
from mlx_probe.library.query import NamedRun, ask
from mlx_probe.report.answers import answer_rows
from mlx_probe.report.documents import model_document
from mlx_probe.runs.load import read_table

from .bounded import MOST_ROWS, bounded, plain
from .places import Places

__all__ = ["Tools"]

# Seconds that a statement may take.
_TIMEOUT = 30.0
# Room for each of two lists.
_HALF = 0.5
# Runs that are compared at a time.
_MOST_RUNS = 100
_ROW_COLUMNS = (
    *("param_name", "other_name", "block_type", "layer_index", "expert_index", "part"),
    *("shape", "dtype", "numel", "status", "status_reason"),
)

Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="Most rows to return.")]
RunName = Annotated[
    str, Field(description="A run's name, as `select run, model from runs` lists it.")
]


class Answer(TypedDict):
    """Rows that a statement gave."""

    columns: list[dict[str, str]]
    rows: list[dict[str, Any]]
    left_out: int


class Found(TypedDict):
    """Findings of a run."""

    run: str
    findings: list[dict[str, Any]]
    left_out: int


class Inspected(TypedDict):
    """What a run or a model holds."""

    facts: dict[str, Any]
    tensors: list[dict[str, Any]]
    left_out: int


class Explained(TypedDict):
    """What a column means, once for each table that has it."""

    explanations: list[dict[str, Any]]


class Compared(TypedDict):
    """Runs side by side."""

    facts: dict[str, Any]
    runs: list[dict[str, Any]]
    profiles: list[dict[str, Any]]
    left_out: int


class Tools:
    """The tools over what a user has named.

    Args:
        places: What may be seen.
    """

    def __init__(self, places: Places) -> None:
        self._places = places

    def query(
        self,
        sql: Annotated[
            str,
            Field(
                description="One SELECT statement in DuckDB's SQL. Views: runs, params, compare, "
                "spectra, findings, heads, experts, models, model_files; `describe params` lists "
                "columns. Nothing else can be read."
            ),
        ],
        limit: Limit = 100,
    ) -> Answer:
        """Answer a question in SQL about finished runs: every number of every tensor is there.

        `runs` has a row for each run, `params` one for each tensor of each run (columns run,
        param_name, block_type, layer_index, rank, stable_rank, effective_rank, alpha,
        alpha_reliable ...), `spectra` the singular values. Aggregate in SQL rather than fetching
        rows: results are cut, and left_out says how many rows are missing. Infinity is the text
        "infinity". The tool explain says what a column means.
        """
        with _reported():
            answer = ask(sql, self._places.scope, limit, _TIMEOUT)
            names = answer.table.column_names
            rows = (dict(zip(names, row, strict=True)) for row in answer_rows(answer))
            kept, cut = bounded(rows, limit)
            columns = [
                {"name": field.name, "type": str(field.type)} for field in answer.table.schema
            ]
            return {"columns": columns, "rows": kept, "left_out": answer.left_out + cut}

    def findings(
        self,
        run: RunName,
        least: Annotated[
            Literal["high", "medium", "note"],
            Field(description="Leave out findings that are less severe."),
        ] = "note",
        limit: Limit = 50,
    ) -> Found:
        """Say what is unusual about a run's model, the most severe first, with the evidence.

        Each finding has a rule, a severity (high, medium, note), one sentence, the tensors that
        it is about, the numbers behind it, and what to do. An empty list means that no rule
        found anything.
        """
        with _reported():
            named = self._places.run(run)
            wanted = SEVERITIES[: SEVERITIES.index(least) + 1]
            found = [f.as_json() for f in findings_of(named.meta_path) if f.severity in wanted]
            kept, left_out = bounded(found, limit)
            return {"run": named.name, "findings": kept, "left_out": left_out}

    def inspect(
        self,
        name: Annotated[
            str,
            Field(
                description="A run's name; or a model on this machine that the user has opened to "
                "you: its path, or its name in the catalog."
            ),
        ],
        match: Annotated[
            str, Field(description="Only tensors of such names, such as *.q_proj.weight.")
        ] = "*",
        limit: Limit = 50,
    ) -> Inspected:
        """List the tensors of a run, or of a model file's headers: role, shape, type, status.

        No weight is read, and nothing is downloaded. left_out counts the tensors that match and
        are not listed.
        """
        with _reported():
            model = self._places.model(name)
            if model is None:
                run = self._places.run(name)
                facts, rows, key = _run_facts(run), _run_rows(run), "param_name"
            else:
                with open_checkpoint(str(model)) as checkpoint:
                    facts = model_document(checkpoint)
                rows, key = facts.pop("tensors"), "name"
            chosen = (row for row in rows if fnmatchcase(str(row.get(key)), match))
            kept, left_out = bounded(chosen, limit)
            return {"facts": plain(facts), "tensors": kept, "left_out": left_out}

    def explain(
        self,
        name: Annotated[
            str, Field(description="A column of any table, such as alpha, or its title.")
        ],
    ) -> Explained:
        """Explain what a column means: plainly, exactly, usual values, when it misleads, source.

        Call it before drawing conclusions from a number.
        """
        with _reported():
            kept, _ = bounded(each.as_json() for each in explain(name))
            return {"explanations": kept}

    def compare_runs(
        self,
        runs: Annotated[
            list[str],
            Field(max_length=_MOST_RUNS, description="Names of runs; empty for all, the newest."),
        ],
        metrics: Annotated[
            list[str], Field(description="Columns or numbers of the summary; empty for a few.")
        ],
        sort: Annotated[str | None, Field(description="The metric to sort by.")] = None,
        ascending: Annotated[bool, Field(description="Whether the smallest comes first.")] = False,
        over_depth: Annotated[
            bool, Field(description="Also medians over ten bins of relative depth.")
        ] = False,
    ) -> Compared:
        """Put finished runs side by side, whatever their models, with settings that differ.

        Each run has one number for each metric: its summary's, or the median over its matrices.
        facts.differences names settings that make numbers incomparable. left_out counts what is
        not listed.
        """
        with _reported():
            chosen = [run for run in self._places.runs(runs) if runs or run.kind == "analyze"]
            paths = [run.meta_path for run in islice(chosen, _MOST_RUNS)]
            table = compare_runs(paths, metrics=metrics, sort=sort, ascending=ascending).as_json()
            # Settings that are the same for all say nothing; the others are in the facts.
            compared = [{**run, "settings": None} for run in table.pop("runs")]
            profiles: Iterable[Any] = table.pop("profiles")
            lines, cut = bounded([_without_nulls(run) for run in compared], share=_HALF)
            drawn, undrawn = bounded(profiles if over_depth else (), share=_HALF)
            return {
                "facts": plain(table),
                "runs": lines,
                "profiles": drawn,
                "left_out": cut + undrawn + len(chosen) - len(paths),
            }


@contextmanager
def _reported() -> Iterator[None]:
    """Failures that have a remedy become errors of the tool, for the assistant to read."""
    try:
        yield
    except ProbeError as error:
        raise ToolError(f"{error.fact}\n{error.remedy}") from error


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _run_facts(run: NamedRun) -> dict[str, Any]:
    kept = (
        *("kind", "model", "models", "configuration", "rows_by_status", "sample", "unread"),
        "created_at",
    )
    return {"run": run.name, **{name: run.meta[name] for name in kept if name in run.meta}}


def _run_rows(run: NamedRun) -> list[Mapping[str, Any]]:
    table, _, _ = read_table(run.meta_path, _ROW_COLUMNS)
    rows: list[Mapping[str, Any]] = table.to_pylist()
    return rows
