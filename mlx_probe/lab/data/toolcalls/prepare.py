"""Examples of function calls to train on: `mlx-probe data toolcalls`.

files of all sources -> rows                              (rows.py)
                     -> examples, each by its format      (formats/)
                     -> checked, rendered, counted        (check.py, rendering.py)
                     -> those that hold: .work/examples.jsonl; the others: rejected.jsonl
                     -> components that share functions -> train, valid, test   (groups.py)
                     -> run_meta.json, written last
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlx_probe.core.errors import Interrupted, SourceError
from mlx_probe.core.files import write_error
from mlx_probe.lab.data.job import monitored
from mlx_probe.lab.data.progress import OnProgress, Progress
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.data.toolcalls.check import check_example
from mlx_probe.lab.data.toolcalls.config import ToolCallsConfig
from mlx_probe.lab.data.toolcalls.example import (
    REASONS,
    Example,
    Rejected,
    called_names,
    function_key,
)
from mlx_probe.lab.data.toolcalls.folder import LOG, REJECTED, WORK, finished, part_file, write_run
from mlx_probe.lab.data.toolcalls.formats import FORMATS, Context, format_of_row
from mlx_probe.lab.data.toolcalls.groups import PARTS, Groups, split_groups
from mlx_probe.lab.data.toolcalls.items import Items
from mlx_probe.lab.data.toolcalls.rendering import open_template, token_count
from mlx_probe.lab.data.toolcalls.rows import Broken, Row, RowFile
from mlx_probe.lab.data.toolcalls.sources import open_sources
from mlx_probe.lab.data.toolcalls.statistics import PartCounts
from mlx_probe.lab.data.workspace import only_one

if TYPE_CHECKING:
    from mlx_probe.runs.monitor.watch import WatchConfig
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["prepare_toolcalls"]

_log = logging.getLogger(__name__)

# Rows between two reports.
_OFTEN = 64


def prepare_toolcalls(
    config: ToolCallsConfig,
    out: Path,
    on_progress: OnProgress | None = None,
    overwrite: bool = False,
    watch: WatchConfig | None = None,
    on_alert: Callable[[str, bool], None] | None = None,
    download: DownloadProgress | None = None,
) -> dict[str, Any]:
    """Make chat data with tools of published data sets; a folder that is finished is returned.

    Args:
        config: Sources, checks and split.
        out: The folder: train.jsonl, valid.jsonl, test.jsonl (a part without examples has no
            file), rejected.jsonl, run_meta.json.
        on_progress: Called now and then.
        overwrite: Whether to replace data of other sources or settings.
        watch: Rules on the machine's resources, and who may follow the job; None for none.
        on_alert: Told what the rules say, and whether it is a warning.
        download: Shows how far a download is; None for nothing.

    Returns:
        What run_meta.json holds.

    Raises:
        SourceError: A source is missing, damaged, empty, or of no known format.
        ConfigError: The tokenizer has no chat template, or a choice names no file.
        ResultError: `out` holds something else, another process works there, or the disk refuses.
        Interrupted: Ctrl-C was pressed; nothing is finished.
        Stopped: A rule ended the job.
    """
    files, items = open_sources(config, download)
    tokenizer = open_template(config.tokenizer) if config.tokenizer else None
    work = out / WORK
    try:
        out.mkdir(parents=True, exist_ok=True)
        with only_one(out):
            before = finished(out, config, files, tokenizer, overwrite)
            if before is not None:
                return before
            work.mkdir(exist_ok=True)
            title = ", ".join(config.sources)
            with monitored(out, title, watch, on_progress, on_alert, "toolcalls", LOG) as report:
                meta = _run(config, files, items, tokenizer, out, report)
                _log.info("written: %s", json.dumps(meta["parts"]))
            shutil.rmtree(work)
            return meta
    except OSError as error:
        raise write_error(Path(error.filename or out), error) from error
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; {out} is not finished", "Run the same command again"
        ) from None


def _run(
    config: ToolCallsConfig,
    files: list[RowFile],
    items: Items,
    tokenizer: Tokenizer | None,
    out: Path,
    report: OnProgress,
) -> dict[str, Any]:
    job = _Job(config, items, tokenizer)
    with ExitStack() as stack:
        kept = stack.enter_context((out / WORK / "examples.jsonl").open("w", encoding="utf-8"))
        refused = stack.enter_context((out / WORK / REJECTED).open("w", encoding="utf-8"))
        for file, row in _rows(files, items, report):
            try:
                example, length = job.example(file, row)
            except Rejected as error:
                job.rejected[error.reason] += 1
                where = {"file": file.name, "row": row.number, "id": _id(row.value)}
                _write(refused, {**where, "reason": error.reason, "text": error.text})
                continue
            described = {
                "id": example.id or f"{file.name}:{row.number}",
                "messages": example.messages,
                "tools": example.tools,
                "source": f"{file.source}:{file.name}",
            }
            _write(kept, described)
            job.keep(example, length)
    if not job.lengths:
        reasons = ", ".join(f"{count} {reason}" for reason, count in job.rejected.most_common(3))
        raise SourceError(
            f"no example holds: {reasons or 'there are no rows'}",
            f"See {out / WORK / REJECTED}",
        )
    split = split_groups(job.groups, config.valid, config.test, config.seed)
    counts = _write_parts(out, split.part_of, job.lengths, tokenizer is not None)
    (out / WORK / REJECTED).replace(out / REJECTED)
    notes = [*split.notes, *job.notes()]
    return write_run(
        out,
        config,
        files,
        tokenizer,
        {
            "formats": job.formats,
            "rows": len(job.lengths) + sum(job.rejected.values()),
            "parts": {part: counts[part].summary() for part in PARTS},
            "rejected": {reason: job.rejected[reason] for reason in REASONS},
            "split": {
                "by": config.split_by,
                "seed": config.seed,
                "components": split.components,
                "largest": split.largest,
            },
            "notes": notes,
        },
    )


class _Job:
    """What is known of the examples so far."""

    def __init__(self, config: ToolCallsConfig, items: Items, tokenizer: Tokenizer | None) -> None:
        self.config, self.items, self.tokenizer = config, items, tokenizer
        self.formats: dict[str, str] = {}
        self.rejected: Counter[str] = Counter()
        self.groups = Groups()
        self.lengths: list[int] = []
        self.unknown_types: dict[str, int] = {}
        self._kept: dict[str, Any] = {}
        self._seen: set[bytes] = set()
        self._context: Context | None = None

    def example(self, file: RowFile, row: Row) -> tuple[Example, int]:
        """The example of a row, and its tokens; 0 without a tokenizer.

        Raises:
            Rejected: It does not hold.
            SourceError: The file is of no known format.
        """
        if isinstance(row.value, Broken):
            raise Rejected("broken line", row.value.why)
        if not isinstance(row.value, Mapping):
            raise Rejected("broken line", "the row is no object")
        if file.name not in self.formats:
            given = self.config.format
            form = format_of_row(row.value, str(file.path)) if given == "auto" else given
            self.formats[file.name] = form
        form = self.formats[file.name]
        if not FORMATS[form].fits(row.value):
            keys = ", ".join(sorted(map(str, row.value))[:12])
            raise Rejected("other format", f"it has the keys {keys}, which {form} has not")
        if self._context is None or self._context.path != file.path:
            no_call = self.config.no_call
            self._context = Context(file.path, no_call, self.unknown_types, self._kept)
        converted = FORMATS[form].convert(row.value, self._context)
        example = check_example(converted, self.config.system)
        if example.fingerprint in self._seen:
            raise Rejected("duplicate", "an earlier example is the same")
        length = 0
        if self.tokenizer is not None:
            length = token_count(self.tokenizer, example, self.config.max_tokens)
        return example, length

    def keep(self, example: Example, length: int) -> None:
        """Count an example that holds."""
        self._seen.add(example.fingerprint)
        functions = [tool["function"] for tool in example.tools]
        if self.config.split_by == "called":
            names = called_names(example)
            functions = [function for function in functions if function["name"] in names]
        self.groups.add(map(function_key, functions), example.fingerprint)
        self.lengths.append(length)

    def notes(self) -> Iterator[str]:
        """What to know about the examples that hold."""
        for name, count in sorted(self.unknown_types.items()):
            yield f"{count} parameters are of the type {name!r}, which allows any value here"


def _rows(files: list[RowFile], items: Items, report: OnProgress) -> Iterator[tuple[RowFile, Row]]:
    sizes = [file.path.stat().st_size for file in files]
    total, before = sum(sizes), 0
    for file, size in zip(files, sizes, strict=True):
        for row in file.rows():
            if row.number % _OFTEN == 0:
                report(Progress("read", min(before + row.read, total), total))
            if items.row(file.name, row.number):
                yield file, row
        before += size
    report(Progress("read", total, total))


def _write_parts(
    out: Path, part_of: bytes, lengths: list[int], tokens: bool
) -> dict[str, PartCounts]:
    """Deal the examples out to the parts; a part without examples has no file."""
    counts = {part: PartCounts() for part in PARTS}
    work = out / WORK
    with ExitStack() as stack:
        source = stack.enter_context((work / "examples.jsonl").open(encoding="utf-8"))
        outputs = [
            stack.enter_context((work / f"{part}.jsonl").open("w", encoding="utf-8"))
            for part in PARTS
        ]
        for line, number, length in zip(source, part_of, lengths, strict=True):
            outputs[number].write(line)
            value = json.loads(line)
            example = Example(value["id"], value["messages"], value["tools"])
            counts[PARTS[number]].add(example, length if tokens else None)
    for part in PARTS:
        if counts[part].examples:
            (work / f"{part}.jsonl").replace(part_file(out, part))
    return counts


def _write(file: IO[str], value: Mapping[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can say
        text = json.dumps(value)
    file.write(text + "\n")


def _id(value: Any) -> str | None:
    name = value.get("id") if isinstance(value, Mapping) else None
    return None if name is None else str(name)
