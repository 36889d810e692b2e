"""A model on this machine answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, Interrupted
from mlx_probe.lab.conversation import conversation_text
from mlx_probe.lab.device import device_label
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.prediction import Prediction
from mlx_probe.lab.evaluate.answers.prompting import PROMPTING
from mlx_probe.lab.evaluate.answers.question import Question
from mlx_probe.lab.generate.adapted import find_adapter
from mlx_probe.lab.generate.config import GenerateConfig, SamplingConfig
from mlx_probe.lab.generate.generate import generate
from mlx_probe.lab.generate.loading import LoadedModel, load_model

__all__ = ["LocalModel", "weights_fingerprint"]


class LocalModel:
    """Asks a model that runs here, one question after the other.

    Attributes:
        name: The reference that it was opened by.
        concurrency: Questions at a time.
    """

    concurrency = 1

    def __init__(self, reference: str, config: AnswerConfig) -> None:
        """Open the model; see `load_model` for what is raised."""
        self._loaded, self._config = load_model(reference), config
        self.name = self._loaded.name

    def identity(self) -> dict[str, Any]:
        """What decides the answers, beside the settings."""
        adapter = find_adapter(self.name)
        folders = [self._loaded.folder, *([adapter] if adapter else [])]
        return {"model": self.name, "weights": weights_fingerprint(folders)}

    def facts(self) -> Mapping[str, Any]:
        """What it ran with."""
        loaded = self._loaded
        return {"device": device_label(), "dtype": loaded.dtype, "runs_by": loaded.runs_by}

    def ask(self, question: Question) -> Prediction:
        """Answer one question.

        Raises:
            Interrupted: The user stopped it.
            ConfigError: The tokenizer has no chat template.
        """
        start = time.perf_counter()
        prompt = _prompt(self._loaded, question, self._config)
        room = self._loaded.context
        if room is not None and len(prompt) > room:
            return Prediction(
                question.id, "", None, "too_long", question.fingerprint, len(prompt), 0, 0.0
            )
        sampling = SamplingConfig(temperature=self._config.temperature, seed=self._config.seed)
        made = generate(self._loaded, prompt, GenerateConfig(self._config.max_tokens, (), sampling))
        if made.finish_reason == "interrupted":
            raise Interrupted(
                "the evaluation was interrupted", "The same command goes on with the next question"
            )
        return Prediction(
            id=question.id,
            text=made.text,
            finish_reason=made.finish_reason,
            question=question.fingerprint,
            prompt_tokens=made.prompt_tokens,
            tokens=len(made.tokens),
            seconds=time.perf_counter() - start,
        )


def _prompt(loaded: LoadedModel, question: Question, config: AnswerConfig) -> list[int]:
    messages, tools = PROMPTING[config.prompting].conversation(question, config.system)
    try:
        text = conversation_text(loaded.tokenizer, messages, tools)
    except ConfigError as error:
        raise ConfigError(f"question {question.id}: {error.fact}", error.remedy) from error
    return loaded.tokenizer.encode_special(text)


def weights_fingerprint(folders: Iterable[Path]) -> str:
    """16 hex digits of the weights' files by name, size and time.

    A model that is trained on, and an adapter that is, answers otherwise.

    Args:
        folders: Of the model, and of its adapter if there is one.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.safetensors")):
            stat = path.stat()
            digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
