"""Documents about models and runs: plan, analyze, compare, report, validate, query, inspect."""

from __future__ import annotations

from .extraction import EXTRACTION
from .findings import FINDING
from .shape import (
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = [
    "ANSWER",
    "CHECKS",
    "INSPECTION",
    "PAGE",
    "PLAN",
    "PROFILE",
    "ROWS",
    "RUN",
    "VIEWS",
]

_RUN = (TEXT, "The run's run_meta.json.")

_MODELS = (
    listed(
        record(
            {
                "id": (TEXT, "Name."),
                "revision": (TEXT, "Exact commit or version."),
                "path": (TEXT, "Where it was read from."),
            }
        )
    ),
    "The model; of a comparison A and B.",
)

_COUNTS = record(
    {
        "measured": (INTEGER, "Of what it measures."),
        "unsampled": (INTEGER, "Of what it leaves out."),
    }
)

_EXPERTS = record(
    {
        "measured": (INTEGER, "Experts of a layer that are measured."),
        "of": (INTEGER, "Experts of a layer at most."),
    }
)

_SAMPLE = (
    nullable(
        record(
            {
                "selection": (TEXT, "As --sample has it."),
                "seed": (INTEGER, "Chooses the experts."),
                "rows": (_COUNTS, "Rows."),
                "bytes": (_COUNTS, "Bytes as stored; parts of fused matrices do not count again."),
                "stacks": (
                    listed(
                        record(
                            {
                                "name": (TEXT, "Their names up to the layer's number."),
                                "layers": (listed(INTEGER), "The layers that are measured."),
                                "of": (INTEGER, "How many layers there are."),
                                "experts": (nullable(_EXPERTS), "Null without any."),
                            }
                        )
                    ),
                    "Each stack of layers.",
                ),
            }
        )
    ),
    "What a sample measures and leaves out; null if everything is measured.",
)

RUN: Schema = record(
    {
        "kind": (one_of(("analyze", "compare")), "The command."),
        "run": _RUN,
        "models": _MODELS,
        "rows": (INTEGER, "Rows of the main table."),
        "rows_by_status": (mapping(INTEGER), "How many rows have which status."),
        "sample": _SAMPLE,
        "passed": (FLAG, "Whether every check of the run passed."),
        "failures": (listed(TEXT), "The checks that did not."),
        "complete": (FLAG, "Whether every weight has numbers."),
        "unread": (nullable(TEXT), "What has none, and why."),
        "seconds": (NUMBER, "Time of this start of the run."),
        "peak_process_memory": (INTEGER, "Bytes."),
        "peak_device_memory": (INTEGER, "Bytes."),
        "backend": (TEXT, "What computed on the elements."),
        "device": (TEXT, "Where it did."),
        "outputs": (listed(TEXT), "The tables."),
        "findings": (
            nullable(listed(FINDING)),
            "As `mlx-probe findings --json` prints them; null for a comparison.",
        ),
        "summary": (nullable(mapping(ANYTHING)), "The model summary; null for a comparison."),
        "extraction": (
            nullable(EXTRACTION),
            "The adapter of a comparison with --extract-lora or --energy; null without.",
        ),
    }
)

CHECKS: Schema = record(
    {
        "run": _RUN,
        "passed": (FLAG, "Whether all of them passed."),
        "checks": (
            listed(
                record(
                    {
                        "name": (TEXT, "What was checked."),
                        "passed": (FLAG, "The outcome."),
                        "detail": (TEXT, "What was found."),
                    }
                )
            ),
            "In order.",
        ),
    }
)

PAGE: Schema = record(
    {
        "runs": (listed(TEXT), "The run_meta.json of each run."),
        "page": (TEXT, "The page that was written."),
        "nbytes": (INTEGER, "Its size."),
    }
)

PROFILE: Schema = record(
    {
        "run": _RUN,
        "kind": (one_of(("analyze", "compare")), "The command that made it."),
        "models": _MODELS,
        "rows_by_status": (nullable(mapping(INTEGER)), "How many rows have which status."),
        "sample": _SAMPLE,
        "metrics": (
            listed(
                record(
                    {
                        "name": (TEXT, "Column."),
                        "unit": (TEXT, "Its unit."),
                        "points": (
                            listed(
                                record(
                                    {
                                        "group": (TEXT, "Kind of tensor."),
                                        "tensor": (nullable(TEXT), "Null for several of them."),
                                        "layer": (nullable(INTEGER), "Null outside the layers."),
                                        "value": (NUMBER, "Median of the tensors."),
                                        "low": (NUMBER, "The smallest of them."),
                                        "high": (NUMBER, "The largest of them."),
                                        "count": (INTEGER, "How many tensors."),
                                        "reliable": (
                                            nullable(FLAG),
                                            "Whether the fit is; null where nothing is fitted.",
                                        ),
                                    }
                                )
                            ),
                            "One for each group and layer.",
                        ),
                    }
                )
            ),
            "The columns of --metric, or the usual ones.",
        ),
        "outliers": (
            listed(
                record(
                    {
                        "tensor": (TEXT, "Name."),
                        "row": (INTEGER, "Its row of the table, from 0."),
                        "reasons": (
                            listed(
                                record(
                                    {
                                        "kind": (TEXT, "status, rank, deviation or fit."),
                                        "column": (TEXT, "The column that it is about."),
                                        "size": (
                                            NUMBER,
                                            "Robust z of a deviation, share of missing rank.",
                                        ),
                                    }
                                )
                            ),
                            "The most serious first.",
                        ),
                    }
                )
            ),
            "Tensors that stand out, the most serious first.",
        ),
    }
)

_COLUMN = {"name": (TEXT, "Column."), "type": (TEXT, "Its type.")}

ANSWER: Schema = record(
    {
        "columns": (listed(record(_COLUMN)), "In the order of the statement, types as in Arrow."),
        "rows": (listed(mapping(ANYTHING)), "Values by column."),
    }
)

VIEWS: Schema = record(
    {
        "views": (
            listed(
                record(
                    {
                        "name": (TEXT, "View."),
                        "rows": (TEXT, "What its rows are."),
                        "columns": (
                            listed(record({**_COLUMN, "description": (TEXT, "Meaning.")})),
                            "Types as in SQL.",
                        ),
                    }
                )
            ),
            "Those that a statement can name.",
        )
    }
)

INSPECTION: Schema = record(
    {
        "model": (TEXT, "Name."),
        "revision": (TEXT, "Exact commit or version."),
        "path": (TEXT, "Where it is."),
        "files": (listed(TEXT), "Its weight files."),
        "format": (TEXT, "File format."),
        "architecture": (mapping(ANYTHING), "Numbers of the network, where they are known."),
        "adapter": (nullable(mapping(ANYTHING)), "Of an adapter: kind, rank, targets ..."),
        "parameters": (INTEGER, "Elements."),
        "nbytes": (INTEGER, "Their size as stored."),
        "fetched": (nullable(INTEGER), "Bytes read over the network; null for files here."),
        "tensors": (
            listed(
                record(
                    {
                        "name": (TEXT, "Name."),
                        "block_type": (TEXT, "Role in the network."),
                        "layer_index": (nullable(INTEGER), "Block; null outside the blocks."),
                        "shape": (listed(INTEGER), "Logical shape."),
                        "stored_as": (TEXT, "Stored type."),
                        "numel": (INTEGER, "Elements."),
                        "nbytes": (INTEGER, "Their size as stored."),
                        "problem": (nullable(TEXT), "Why it cannot be read; null if it can."),
                    }
                )
            ),
            "In the order of the files.",
        ),
    }
)

ROWS: Schema = record(
    {
        "run": _RUN,
        "kind": (one_of(("analyze", "compare")), "The command that made it."),
        "models": _MODELS,
        "rows_by_status": (nullable(mapping(INTEGER)), "How many rows have which status."),
        "sample": _SAMPLE,
        "rows": (
            listed(mapping(ANYTHING)),
            "Name, role, shape, type and status of each row; see the table's columns.",
        ),
    }
)

_FORECAST_MODEL = record(
    {
        "id": (TEXT, "Name."),
        "revision": (TEXT, "Exact commit or version."),
        "path": (TEXT, "Where it is."),
        "framework": (TEXT, "File format."),
        "parameters": (INTEGER, "Elements."),
        "architecture": (mapping(ANYTHING), "Numbers of the network."),
    }
)

PLAN: Schema = record(
    {
        "goal": (TEXT, "What would be done."),
        "model": (_FORECAST_MODEL, "The model."),
        "inputs": (listed(TEXT), "Files that would be read."),
        "steps": (
            listed(
                record({"what": (TEXT, "What is done."), "fallback": (TEXT, "What else, if not.")})
            ),
            "In order.",
        ),
        "outputs": (listed(TEXT), "Files that would be written."),
        "checks": (listed(TEXT), "What would be checked."),
        "log": (TEXT, "The log."),
        "configuration": (mapping(ANYTHING), "All settings."),
        "backend": (TEXT, "Backend and device, and why."),
        "fetch": (
            record(
                {
                    "nbytes": (INTEGER, "Bytes to download."),
                    "folder": (TEXT, "Where to."),
                    "free": (nullable(INTEGER), "Free bytes there; null if unknown."),
                    "fits": (FLAG, "Whether they fit."),
                }
            ),
            "What has to be downloaded first.",
        ),
        "read_bytes": (INTEGER, "Bytes to read."),
        "weights": (INTEGER, "Weights to measure."),
        "sample": _SAMPLE,
        "spectra": (INTEGER, "Matrices among them."),
        "copies": (INTEGER, "Weights that are copies of others."),
        "unreadable": (
            listed({"type": "array", "items": {"type": ["string", "integer"]}}),
            "Weights that would get a reason instead of numbers: name, reason, bytes.",
        ),
        "memory": (
            record(
                {
                    "process": (INTEGER, "Bytes that the process has before the first weight."),
                    "in_flight": (INTEGER, "Bytes of weights at work."),
                    "peak": (INTEGER, "Bytes at most."),
                    "least": (INTEGER, "Bytes that it needs at least."),
                    "limit": (INTEGER, "Bytes that it may take."),
                    "largest": (TEXT, "The weight that needs most."),
                    "fits": (FLAG, "Whether it fits."),
                }
            ),
            "Memory.",
        ),
        "device_limit": (nullable(INTEGER), "Bytes of the device; null without one."),
        "stages": (
            mapping(
                record(
                    {
                        "seconds": (nullable(NUMBER), "In all workers together."),
                        "flops": (NUMBER, "Floating-point operations."),
                    }
                )
            ),
            "Cost of each stage.",
        ),
        "seconds": (nullable(NUMBER), "How long it would take; null without a calibration."),
        "inference": (
            listed(
                record(
                    {
                        "bits": (INTEGER, "Bits of a weight; 0 for as stored."),
                        "context": (INTEGER, "Tokens."),
                        "weights": (nullable(INTEGER), "Bytes of the weights."),
                        "cache": (nullable(INTEGER), "Bytes of the cache; null if unknown."),
                    }
                )
            ),
            "Memory of running the model.",
        ),
        "cache_unknown": (TEXT, "Why the cache is unknown; empty if it is not."),
        "cache_none": (TEXT, "Why there is none; empty if there is."),
        "unread": (TEXT, "What would have no numbers; empty if nothing."),
        "advice": (listed(TEXT), "What to change so that it fits."),
        "machine": (nullable(mapping(ANYTHING)), "The calibrated machine."),
        "fits": (FLAG, "Whether memory and disk suffice."),
        "code_version": (TEXT, "Version of mlx-probe."),
        "created_at": (TEXT, "When it was made, ISO 8601 in UTC."),
    }
)
