"""A smaller mixture on disk: its tensors, its texts, its losses and its receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import write_error
from mlx_probe.core.version import __version__
from mlx_probe.lab.derived_model import copy_texts, write_json
from mlx_probe.lab.generate.folder import tokenizer_folder
from mlx_probe.lab.model_input import model_input
from mlx_probe.lab.moe.reduce.losses import Losses
from mlx_probe.lab.tensor_stream import StoredTensor, write_shards
from mlx_probe.lab.whole_folder import whole_folder
from mlx_probe.runs.small_run import SmallRun, data_input
from mlx_probe.source.transfer.disk_space import existing_folder, require_space

if TYPE_CHECKING:
    from mlx_probe.lab.moe.reduce.mixture import Mixture

__all__ = ["Reduced", "recorder", "write_reduced"]

# The results in run_meta.json.
_COUNTS = (
    *("layers", "experts_before", "experts", "active", "tensors", "bytes"),
    *("tokens", "loss_before", "loss_after"),
)
_RUN = tuple(field.name for field in fields(Losses))


@dataclass(frozen=True)
class Reduced:
    """A mixture with fewer experts.

    Attributes:
        model: The reference of the mixture that it was made from.
        folder: Where it is.
        stock: Its model_type.
        layers: Layers that are mixtures.
        experts_before: Experts of a layer of the old one.
        experts: Experts of a layer.
        active: Experts that a token uses.
        tensors: Its tensors.
        bytes: Size of the files with weights.
        files: Their names.
        measured: Both on a text; None if they were not run.
        chosen: What was made of which experts and why, for the receipt.
    """

    model: str
    folder: Path
    stock: str
    layers: int
    experts_before: int
    experts: int
    active: int
    tensors: int
    bytes: int
    files: tuple[str, ...]
    measured: Losses | None
    chosen: Mapping[str, Any]

    @classmethod
    def begun(
        cls, model: str, folder: Path, mixture: Mixture, experts: int, chosen: Mapping[str, Any]
    ) -> Reduced:
        """What is known before the first tensor is written."""
        return cls(
            model=model,
            folder=folder,
            stock=mixture.kind,
            layers=len(mixture.layers),
            experts_before=mixture.experts,
            experts=experts,
            active=mixture.active,
            tensors=0,
            bytes=0,
            files=(),
            measured=None,
            chosen=chosen,
        )

    def describe(self) -> dict[str, Any]:
        """For JSON: what the receipt says."""
        apart = ("folder", "measured", "chosen")
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        run = asdict(self.measured) if self.measured else dict.fromkeys(_RUN)
        return {
            **{name: value for name, value in said.items() if name not in apart},
            "run": self.measured is not None,
            **run,
            **self.chosen,
        }


def write_reduced(
    out: Path,
    receipt: str,
    source: Path,
    config: Mapping[str, Any],
    mixture: Mixture,
    tensors: Iterable[StoredTensor],
    measure: Callable[[Path], Losses] | None,
    reduced: Reduced,
    on_bytes: Callable[[int], None],
    record: Callable[[Path, Reduced], object],
) -> Reduced:
    """Write a smaller mixture whole, or not at all.

    Args:
        out: The folder.
        receipt: Name of the file that says what was made of what.
        source: Folder of the old mixture.
        config: config.json, still with the old number of experts.
        mixture: The old mixture.
        tensors: Every tensor of the new one.
        measure: Runs the new one in its folder; None where nothing is run.
        reduced: What is known of the new one.
        on_bytes: Called with the bytes of all tensors, before the first is written.
        record: Called with the folder when all else is in it, to write its metadata.

    Raises:
        ResultError: The disk refused.
        ProbeError: A tensor cannot be made, or the new mixture does not run.
    """
    stored = list(tensors)
    total = sum(tensor.nbytes for tensor in stored)
    on_bytes(total)
    try:
        require_space(existing_folder(out.parent), total, "the mixture", "--out")
        with whole_folder(out) as new:
            files = tuple(path.name for path in write_shards(new, stored))
            write_json(new / "config.json", {**config, mixture.family.count: reduced.experts})
            copy_texts(source, _tokenizer(source), new)
            losses = None if measure is None else measure(new)
            done = replace(reduced, tensors=len(stored), bytes=total, files=files, measured=losses)
            write_json(new / receipt, {"mlx_probe": __version__, **done.describe()})
            record(new, done)
    except OSError as error:
        raise write_error(out, error) from error
    return done


def recorder(
    run: SmallRun, reference: str, source: Path, config: Any
) -> Callable[[Path, Reduced], object]:
    """What writes the metadata of a smaller mixture.

    Args:
        run: The command.
        reference: The old mixture, as the user named it.
        source: Its folder.
        config: Settings, with "run" and "data".
    """

    def record(folder: Path, reduced: Reduced) -> object:
        said = reduced.describe()
        inputs = [model_input("base", reference, source)]
        if config.run:
            inputs.append(data_input(config.data))
        counts = {name: said.get(name) for name in _COUNTS}
        return run.write(folder, inputs, asdict(config), counts, written=["."])

    return record


def _tokenizer(folder: Path) -> Path:
    try:
        return tokenizer_folder(folder)
    except SourceError:
        # Weights alone can be made smaller; to run them needs a tokenizer, and says so.
        return folder
