"""Whether a model runs: its files read to the end, loaded, and asked for a few tokens."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import ConfigError, ProbeError, unreadable
from mlx_probe.core.files import sha256_file
from mlx_probe.lab.generate.folder import find_model_folder
from mlx_probe.source import resolve

__all__ = ["Check", "FileHash", "ModelVerified", "verify_model"]

# Files that decide what a model says, beside its weights.
_DECIDING = ("config.json", "tokenizer.json", "generation_config.json", "chat_template.jinja")
PROMPT = "The"


@dataclass(frozen=True)
class FileHash:
    """A file.

    Attributes:
        name: Its name.
        bytes: Its size.
        sha256: 64 hex digits.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Check:
    """Something that was tried.

    Attributes:
        name: What.
        passed: Whether it holds.
        text: What was seen.
    """

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class ModelVerified:
    """What was tried.

    Attributes:
        model: The reference.
        folder: Its files.
        files: Each with its hash.
        sha256: One hash for all: of the lines "HASH  NAME" in the order of the names.
        checks: In the order in which they were made; after one that fails nothing more is tried.
        prompt: The text that was continued.
        text: What the model made of it, always the most likely token.
        tokens: The tokens of that.
    """

    model: str
    folder: Path
    files: tuple[FileHash, ...]
    sha256: str
    checks: tuple[Check, ...]
    prompt: str
    text: str
    tokens: tuple[int, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks hold."""
        return all(check.passed for check in self.checks)


def verify_model(
    reference: str,
    prompt: str = PROMPT,
    count: int = 16,
    expected: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ModelVerified:
    """Hash a model's files, read its headers, load it, and let it continue a text twice.

    This says that a model works here. `mlx_probe.library.download.verify` compares files with
    the hashes of their publisher.

    Args:
        reference: A model reference, or the folder of a finished training run.
        prompt: The text.
        count: Tokens to make, at most.
        expected: The hash of all files that it should have, or its first digits; None for any.
        on_progress: Called with the bytes that are hashed, and all.

    Raises:
        SourceError: The model cannot be had, or is in another layout.
        ConfigError: ``expected`` is no hash.
    """
    if expected is not None and not 8 <= len(expected) <= 64:
        raise ConfigError(f"{expected} is no SHA-256", "Give 8 to 64 of its hex digits")
    folder = find_model_folder(reference)
    files = _hashes(folder, on_progress)
    lines = "".join(f"{file.sha256}  {file.name}\n" for file in files)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    checks = []
    if expected is not None:
        checks.append(Check("hash", digest.startswith(expected.lower()), digest))
    checks.append(_headers(folder))
    text = ""
    tokens: tuple[int, ...] = ()
    if all(check.passed for check in checks):
        more, text, tokens = _runs(reference, prompt, count)
        checks += more
    return ModelVerified(reference, folder, files, digest, tuple(checks), prompt, text, tokens)


def _hashes(folder: Path, on_progress: Callable[[int, int], None]) -> tuple[FileHash, ...]:
    weights = resolve(str(folder)).weights
    names = {path.name for path in weights} | set(_DECIDING)
    paths = [folder / name for name in sorted(names) if (folder / name).is_file()]
    try:
        sizes = [path.stat().st_size for path in paths]
        files, done = [], 0
        for path, size in zip(paths, sizes, strict=True):
            files.append(FileHash(path.name, size, sha256_file(path)))
            done += size
            on_progress(done, sum(sizes))
    except OSError as error:
        raise unreadable(folder, error) from error
    return tuple(files)


def _headers(folder: Path) -> Check:
    """Every tensor can be read."""
    try:
        with open_checkpoint(resolve(str(folder))) as checkpoint:
            bad = [each for each in checkpoint.parameters if each.problem is not None]
            count = len(checkpoint.parameters)
    except ProbeError as error:
        return Check("tensors", False, error.fact)
    if bad:
        first = f"{bad[0].name}: {bad[0].problem}"
        return Check("tensors", False, f"{len(bad)} of {count} cannot be read, {first}")
    return Check("tensors", True, f"all {count} can be read")


def _runs(reference: str, prompt: str, count: int) -> tuple[list[Check], str, tuple[int, ...]]:
    from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
    from mlx_probe.lab.generate.generate import generate
    from mlx_probe.lab.generate.loading import load_model

    try:
        loaded = load_model(reference)
    except ProbeError as error:
        return [Check("loads", False, error.fact)], "", ()
    checks = [Check("loads", True, f"it runs by {loaded.runs_by}, with weights of {loaded.dtype}")]
    config = GenerateConfig(count, (), SamplingConfig(temperature=0))
    try:
        first, second = (generate(loaded, prompt, config) for _ in range(2))
    except ProbeError as error:
        return [*checks, Check("generates", False, error.fact)], "", ()
    loss = _loss(loaded.model, [*loaded.first, *loaded.tokenizer.encode(prompt), *first.tokens])
    checks += [
        Check("generates", True, f"{len(first.tokens)} tokens were made"),
        Check("repeats", first.tokens == second.tokens, "the same tokens twice"),
        Check("finite", math.isfinite(loss), f"loss {loss:.4g} nats a token"),
    ]
    return checks, first.text, first.tokens


def _loss(model: object, tokens: list[int]) -> float:
    """Mean loss of a text, in one pass without a cache."""
    import mlx.core as mx
    from mlx.nn.losses import cross_entropy

    if len(tokens) < 2:
        return 0.0
    logits = model(mx.array([tokens[:-1]])).astype(mx.float32)  # type: ignore[operator]
    return float(cross_entropy(logits, mx.array([tokens[1:]]), reduction="mean").item())
