"""The training step that a checkpoint's name says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mlx_probe.core.errors import ConfigError

__all__ = ["STEP", "matching", "step_of", "steps_of"]

# What stands for the step in a template.
STEP = "{step}"
# A number with a unit behind it, such as 10k, is none.
_END = r"(\d{1,15})(?![\d.]*[kKmMbB]?\d)(?![kKmMbB](?![a-zA-Z]))"
# As they are written: transformers checkpoint-500, mlx-lm 0000100_adapters.safetensors, DeepSpeed
# global_step500, OLMo step1000-tokens4B, Pythia step1000, our own step-500. The first that matches
# counts: a name may have an epoch and a step.
_KNOWN = tuple(
    re.compile(rf"(?:^|[-_.])(?:{words})[-_=]?{_END}", re.IGNORECASE)
    for words in ("global[-_]?steps?|steps?", "iter|iters|iterations?", "checkpoint|ckpt")
)
_MLX_LM = re.compile(r"(\d{1,15})_adapters\.\w+")
_REMEDY = "Say where the step is with --steps, such as --steps 'run-7-epoch-{step}-*'"


def step_of(name: str) -> int | None:
    """The step in a name of one of the usual forms; None for any other name."""
    if match := _MLX_LM.fullmatch(name):
        return int(match[1])
    for form in _KNOWN:
        if match := form.search(name):
            return int(match[1])
    return None


def matching(names: Sequence[str], template: str) -> dict[str, int]:
    """The names that match a template, and their steps.

    Args:
        names: Names.
        template: A name with {step} once; * stands for anything.

    Raises:
        ConfigError: {step} is not there once.
    """
    if template.count(STEP) != 1:
        raise ConfigError(
            f"--steps {template!r} does not have {STEP} once",
            "Give a name with {step} in the place of the number, such as 'checkpoint-{step}'",
        )
    before, after = (
        ".*".join(re.escape(text) for text in part.split("*")) for part in template.split(STEP)
    )
    form = re.compile(rf"{before}(?<!\d)(\d{{1,15}})(?!\d){after}")
    found = ((name, form.fullmatch(name)) for name in names)
    return {name: int(match[1]) for name, match in found if match}


def steps_of(names: Sequence[str], where: str) -> dict[str, int]:
    """The steps that names say, of those that say one.

    Where no name has one of the usual forms, names that differ in one number alone have it as the
    step.

    Args:
        names: Names of checkpoints.
        where: What has them, for messages.

    Raises:
        ConfigError: They differ in more than one number, or two have the same step.
    """
    known = {name: step for name in names if (step := step_of(name)) is not None}
    if not known:
        known = _by_number([name for name in names if re.search(r"\d", name)], where)
    refuse_same(known, where)
    return known


def refuse_same(steps: Mapping[str, int], where: str) -> None:
    """Refuse two checkpoints of one step.

    Raises:
        ConfigError: There are two.
    """
    first: dict[int, str] = {}
    for name, step in steps.items():
        if step in first:
            raise ConfigError(
                f"{where}: {first[step]} and {name} are both of step {step}",
                "Choose one kind of them with --steps, such as --steps 'stage1-step{step}-*'",
            )
        first[step] = name


def _by_number(names: Sequence[str], where: str) -> dict[str, int]:
    parts = {name: re.split(r"(\d+)", name) for name in names}
    if not parts:
        return {}
    texts = {tuple(part[::2]) for part in parts.values()}
    numbers = list(zip(*(part[1::2] for part in parts.values()), strict=False))
    differ = [at for at, of in enumerate(numbers) if len(set(of)) > 1]
    if len(names) == 1 and len(numbers) == 1:
        differ = [0]
    if len(texts) > 1 or len(differ) != 1:
        shown = ", ".join(names[:3])
        raise ConfigError(f"{where}: the steps of {shown} are not clear", _REMEDY)
    return {name: int(part[1::2][differ[0]]) for name, part in parts.items()}
