"""The documents of --json: a JSON Schema for each command, or the reason why it has none.

`SCHEMAS` is what `docs/en/json.md` is made from, and what the tests check the commands' documents
against. A new command is one entry here.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import backup
from .answers import BFCL, COMPARISON, FUNCTION_CALLS
from .budget import BUDGET
from .catalog import (
    CARD,
    DEDUPE_DONE,
    DEDUPE_PLAN,
    DUPLICATES,
    FORGOTTEN,
    MODEL,
    NOTED,
    SCAN,
    SHOWN,
    SPACE,
    SPACE_MOVED,
)
from .cluster import CLUSTER
from .columns import EXPLANATIONS
from .documents import (
    ASSISTANT_RULES,
    DOCUMENT_FINDING,
    DOCUMENT_HIT,
    DOCUMENT_INDEX,
    DOCUMENT_LOG,
    DOCUMENT_PROJECT,
    NEW_DOCUMENT,
    NOTEBOOK_DOCUMENT,
)
from .environments import (
    ENVIRONMENT_CHECKED,
    ENVIRONMENT_DESCRIBED,
    ENVIRONMENT_LOCKED,
    ENVIRONMENT_MADE,
    ENVIRONMENTS,
)
from .experiments import (
    BEST_RUN,
    BIN_ENTRIES,
    EXPERIMENT,
    LINEAGE,
    REMOVALS,
    RESTORED,
    RUN_NOTED,
    RUN_SCAN,
    RUNS_COMPARED,
    RUNS_DIFFERENCE,
    RUNS_FORGOTTEN,
)
from .figures import PLOT, RUNS_TABLE
from .findings import FINDING
from .lab import (
    EVALUATION,
    EXPORTED,
    GENERATION,
    MERGED,
    MODEL_CARD,
    MODEL_FACTS,
    MODEL_VERIFIED,
    TRAINED,
    TUNED,
    TUNING_PLAN,
)
from .lineage import MODEL_LINEAGE
from .load_test import LOAD_TEST
from .machine import BENCH, DOCTOR, REMOTE, SAMPLE
from .models import DOWNLOAD, VERIFICATION
from .moe import GRAFTED
from .moe_reduced import MERGED_EXPERTS, PRUNED
from .moe_signals import SIGNALS
from .moe_stats import STATISTICS
from .moe_train import MIXTURE_TRAINED
from .reproduction import REPRODUCTION
from .run_plan import RUN_PLAN
from .runs import ANSWER, CHECKS, INSPECTION, PAGE, PLAN, PROFILE, ROWS, RUN, VIEWS
from .sentences import SENTENCES
from .series import SERIES
from .shape import FAILURE, Document, Schema, listed
from .share import AUDIT, GUESTS, REVOKED, SHARED, TOKEN
from .similar_layers import SIMILAR_LAYERS
from .tokens import TOKENS
from .toolcalls import TOOLCALLS
from .tracking import RUNS_EXPORTED, SWEEP
from .training import TRAINING
from .training_plan import TRAINING_PLAN

__all__ = ["EXEMPT", "FAILURE", "SCHEMAS", "Document", "Schema", "schema_of"]

# By the words behind `mlx-probe`.
SCHEMAS: Mapping[str, Document] = {
    "plan": Document(
        PLAN, {"of `plan train CONFIG`": TRAINING_PLAN, "of `plan run MODEL`": RUN_PLAN}
    ),
    "analyze": Document(RUN, {"with --dry-run": PLAN}),
    "compare": Document(RUN),
    "series": Document(SERIES),
    "budget": Document(BUDGET),
    "findings": Document(listed(FINDING), note="The most severe first."),
    "report": Document(
        PAGE,
        {
            "with --terminal": PROFILE,
            "with --terminal, of training runs": TRAINING,
            "with --terminal, of mixtures": SENTENCES,
        },
    ),
    "similar-layers": Document(SIMILAR_LAYERS),
    "plot": Document(PLOT),
    "lineage": MODEL_LINEAGE,
    "compare-runs": Document(RUNS_TABLE),
    "explain": Document(EXPLANATIONS),
    "validate": Document(CHECKS),
    "query": Document(ANSWER, {"with --schema": VIEWS}),
    "inspect": Document(INSPECTION, {"of a run": ROWS}),
    "bench": Document(BENCH, note="`--json` takes a file; `--json -` prints the document."),
    "data tokenize": Document(TOKENS),
    "data toolcalls": Document(TOOLCALLS),
    "train": Document(TRAINED),
    "tune": Document(TUNED, {"with --dry-run": TUNING_PLAN}),
    "generate": Document(GENERATION),
    "evaluate": Document(
        EVALUATION,
        {
            "with --task function-calls": FUNCTION_CALLS,
            "with --task bfcl": BFCL,
            "with --compare": COMPARISON,
        },
    ),
    "merge": Document(MERGED),
    "export": Document(EXPORTED),
    "moe graft": Document(GRAFTED),
    "moe signals": Document(SIGNALS),
    "moe stats": Document(STATISTICS),
    "moe prune": Document(PRUNED),
    "moe merge": Document(MERGED_EXPERTS),
    "moe train": Document(MIXTURE_TRAINED),
    "load-test": Document(
        LOAD_TEST,
        note="`mean`, `median`, `std` and percentiles of each latency are further keys: "
        "`mean_ttft_ms`, `p99_e2el_ms`; null without a value.",
    ),
    "download": Document(DOWNLOAD),
    "verify": Document(VERIFICATION),
    "model verify": Document(MODEL_VERIFIED),
    "model info": Document(MODEL_FACTS),
    "model card": Document(MODEL_CARD),
    "catalog scan": Document(SCAN),
    "catalog list": Document(listed(MODEL)),
    "catalog show": Document(SHOWN),
    "catalog card": Document(CARD),
    "catalog note": Document(NOTED),
    "catalog tag": Document(NOTED),
    "catalog forget": Document(FORGOTTEN),
    "catalog duplicates": Document(DUPLICATES),
    "catalog dedupe": Document(DEDUPE_DONE, {"with --dry-run": DEDUPE_PLAN}),
    "catalog undo": Document(DEDUPE_DONE),
    "catalog space": Document(SPACE, {"with --remove, --restore or --empty-bin": SPACE_MOVED}),
    "runs scan": Document(RUN_SCAN),
    "runs list": Document(listed(EXPERIMENT)),
    "runs show": Document(EXPERIMENT),
    "runs compare": Document(RUNS_COMPARED),
    "runs diff": Document(RUNS_DIFFERENCE),
    "runs best": Document(BEST_RUN),
    "runs tag": Document(RUN_NOTED),
    "runs note": Document(RUN_NOTED),
    "runs lineage": Document(LINEAGE),
    "runs rm": Document(REMOVALS),
    "runs restore": Document(RESTORED),
    "runs bin": Document(BIN_ENTRIES),
    "runs forget": Document(RUNS_FORGOTTEN),
    "runs export": Document(RUNS_EXPORTED),
    "runs reproduce": Document(REPRODUCTION),
    "runs sweep": Document(SWEEP, note="The exit code is 1 if no trial has the metric."),
    "docs init": Document(DOCUMENT_PROJECT),
    "docs new": Document(NEW_DOCUMENT),
    "docs notebook": Document(NOTEBOOK_DOCUMENT),
    "docs index": Document(DOCUMENT_INDEX),
    "docs log": Document(DOCUMENT_LOG),
    "docs rules": Document(
        ASSISTANT_RULES, note="With --check the exit code is 1 if one is stale."
    ),
    "knowledge": Document(listed(DOCUMENT_HIT), note="The best first."),
    "docs check": Document(
        listed(DOCUMENT_FINDING), note="The exit code is 1 if anything is found."
    ),
    "share start": Document(SHARED, note="On one line, and then it runs until it is stopped."),
    "share token": Document(TOKEN),
    "share guests": Document(GUESTS),
    "share revoke": Document(REVOKED),
    "share audit": Document(AUDIT),
    "backup create": Document(backup.CREATED),
    "backup list": Document(listed(backup.SNAPSHOT), note="The oldest first."),
    "backup verify": Document(backup.VERIFIED),
    "backup restore": Document(backup.RESTORED),
    "backup prune": Document(backup.PRUNED),
    "backup drill": Document(backup.DRILL),
    "backup schedule": Document(backup.SCHEDULED),
    "env list": Document(ENVIRONMENTS),
    "env create": Document(ENVIRONMENT_MADE),
    "env export": Document(ENVIRONMENT_LOCKED),
    "env check": Document(ENVIRONMENT_CHECKED),
    "env document": Document(ENVIRONMENT_DESCRIBED, note="The data that the document shows."),
    "doctor": Document(DOCTOR, {"with --remote": REMOTE}),
    "cluster check": Document(CLUSTER),
    "monitor": Document(SAMPLE, note="One document a line, as long as the job runs."),
}

# Commands without --json, and why.
EXEMPT: Mapping[str, str] = {
    "completion": "prints a script for the shell",
    "serve": "runs until it is stopped, and says at first where",
    "mcp": "speaks a protocol on standard output",
}


def schema_of(command: str) -> Schema:
    """The JSON Schema of all that a command can print with --json.

    Args:
        command: A key of `SCHEMAS`.
    """
    document = SCHEMAS[command]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mlx-probe {command} --json",
        "anyOf": [document.schema, *document.variants.values(), FAILURE],
    }
