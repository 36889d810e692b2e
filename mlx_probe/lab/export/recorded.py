"""An export with its metadata: run_meta.json in the folder, or beside the one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlx_probe.core.files import write_error
from mlx_probe.lab.export.protocol import Export, Exported
from mlx_probe.lab.model_input import model_input
from mlx_probe.runs.folder import meta_name
from mlx_probe.runs.small_run import META, SmallRun

__all__ = ["recorded"]

_COUNTS = ("parameters", "tensors", "bytes", "vocabulary")


def recorded(name: str, export: Export) -> Export:
    """The same export, which then writes what it did.

    Args:
        name: Of the format.
        export: Writes a model in it.
    """

    def run_export(
        reference: str,
        out: Path,
        kind: str = "auto",
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Exported:
        run = SmallRun("export")
        exported = export(reference, out, kind, on_progress)
        is_file = out.is_file()
        try:
            run.write(
                out.parent if is_file else out,
                [model_input("model", reference)],
                {"to": name, "type": kind, "stored_as": exported.type},
                {each: getattr(exported, each) for each in _COUNTS},
                files=[out.name] if is_file else None,
                # Other files of the folder may be of other exports.
                name=meta_name(out.name) if is_file else META,
                written=[out.name if is_file else "."],
            )
        except OSError as error:
            raise write_error(out, error) from error
        return exported

    return run_export
