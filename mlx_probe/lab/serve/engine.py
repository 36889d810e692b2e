"""The model, for the thread in which mlx-lm's server generates."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map

from mlx_probe.core.errors import CheckpointError, ConfigError, ProbeError
from mlx_probe.lab.conversation import with_tools_written_out
from mlx_probe.lab.generate.loading import LoadedModel, load_model
from mlx_probe.lab.serve.config import ServeConfig

__all__ = ["Provider", "new_generator"]


class Provider:
    """What mlx-lm's `ModelProvider` is, for one model that every request gets.

    mlx-lm loads whatever model a request names. Here a request cannot make the server download
    or load another one.

    Attributes:
        ready: Set when the model is loaded, or cannot be.
        failure: Why it cannot be loaded.
        loaded: The model; None before it is.
        cli_args: mlx-lm's settings.
        longest_token: Bytes of text that one token stands for, at most.
    """

    def __init__(self, reference: str, config: ServeConfig, device: str) -> None:
        self.ready = threading.Event()
        self.failure: Exception | None = None
        self.loaded: LoadedModel | None = None
        self.cli_args = _settings(config)
        self._reference, self._adapter, self._device = reference, config.adapter, device
        self.model: Any = None
        self.tokenizer: Any = None
        self.processor = self.draft_model = None
        self.is_batchable = False
        self.longest_token = 1
        self.model_key = (reference, config.adapter or None, None)

    def choose_device(self) -> bool:
        """Let the thread that calls it compute on the device; whether there is such a device."""
        from mlx_probe.lab.device import use_device

        try:
            device = use_device(self._device)  # type: ignore[arg-type]
        except ProbeError as error:
            self.failure = error
            self.ready.set()
            return False
        if device.type == mx.gpu:
            from mlx_lm.utils import maybe_set_recommended_wired_limit

            maybe_set_recommended_wired_limit()
        return True

    def load_default(self) -> None:
        """Load the model; called in the thread that will use it, as MLX wants."""
        try:
            self._load()
        except Exception as error:  # whoever waits for `ready` raises it
            self.failure = error
        finally:
            self.ready.set()

    def load(self, model: Any, adapter: Any = None, draft: Any = None) -> tuple[Any, Any]:
        """Model and tokenizer, whatever is asked for."""
        return self.model, self.tokenizer

    def reset(self) -> None:
        """Forget the model."""
        self.model = self.tokenizer = self.loaded = None

    def _load(self) -> None:
        from mlx_lm.models.cache import make_prompt_cache
        from mlx_lm.utils import load_tokenizer

        loaded = load_model(self._reference, by_mlx_lm=True)
        if self._adapter:
            _apply(loaded.model, self._adapter)
        self.tokenizer = load_tokenizer(
            loaded.tokenizer.folder, eos_token_ids=sorted(loaded.stops) or None
        )
        self.longest_token = max(1, int(loaded.tokenizer.token_bytes().max()))
        self.model, self.loaded = loaded.model, loaded
        self.is_batchable = all(hasattr(layer, "merge") for layer in make_prompt_cache(self.model))


class _Checked:
    """What is added to mlx-lm's `ResponseGenerator`."""

    model_provider: Provider

    def _generate(self) -> None:
        if self.model_provider.choose_device():
            super()._generate()  # type: ignore[misc]

    def _tokenize(self, tokenizer: Any, request: Any, args: Any) -> Any:
        self._refuse_huge(request)
        if request.request_type == "chat" and tokenizer.has_chat_template:
            _write_out_tools(tokenizer, request)
        tokenized = super()._tokenize(tokenizer, request, args)  # type: ignore[misc]
        count = len(tokenized[0])
        if not count:
            raise ValueError("the prompt is empty")
        loaded = self.model_provider.loaded
        if loaded is not None and loaded.context is not None:
            # The last token is drawn, and not read by the model.
            room = loaded.context - count + 1
            if room < 1:
                raise ValueError(
                    f"the prompt has {count} tokens, more than the {loaded.context} of the "
                    "model's context"
                )
            args.max_tokens = min(args.max_tokens, room)
        return tokenized

    def _refuse_huge(self, request: Any) -> None:
        """Megabytes take seconds to become tokens, for which all other requests would wait."""
        loaded = self.model_provider.loaded
        if loaded is None or loaded.context is None:
            return
        least = _characters(request) // self.model_provider.longest_token
        if least > loaded.context:
            raise ValueError(
                f"the prompt has at least {least} tokens, more than the {loaded.context} of the "
                "model's context"
            )


def _characters(request: Any) -> int:
    """Of the texts in a request."""
    if request.request_type != "chat":
        return len(request.prompt)
    contents = [message.get("content") or "" for message in request.messages]
    return sum(
        len(content) if isinstance(content, str) else sum(len(part["text"]) for part in content)
        for content in contents
    )


def _write_out_tools(tokenizer: Any, request: Any) -> None:
    """Put tools and calls into the messages where the template has no place for them."""
    from mlx_lm.server import process_message_content

    process_message_content(request.messages)
    template = tokenizer.chat_template
    request.messages, left = with_tools_written_out(
        template if isinstance(template, str) else "", request.messages, request.tools or ()
    )
    request.tools = list(left) or None


def new_generator(provider: Provider, config: ServeConfig) -> Any:
    """mlx-lm's `ResponseGenerator`, whose thread has begun to load the model.

    Raises:
        ConfigError: mlx-lm is not installed.
        ProbeError: The model cannot be loaded.
    """
    try:
        from mlx_lm.models.cache import LRUPromptCache
        from mlx_lm.server import ResponseGenerator
    except ImportError as error:
        raise ConfigError(
            f"serving needs mlx-lm: {error}", "Install mlx-lm, which needs Python 3.11"
        ) from error
    kind = type("Generator", (_Checked, ResponseGenerator), {})
    generator = kind(provider, LRUPromptCache(config.prompt_cache))
    try:
        provider.ready.wait()
        if isinstance(provider.failure, ProbeError):
            raise provider.failure
        if provider.failure is not None:
            raise CheckpointError(
                f"the model cannot be loaded: {provider.failure}", "Get the model again"
            ) from provider.failure
    except BaseException:
        generator.stop_and_join()
        raise
    return generator


def _apply(model: Any, adapter: str) -> None:
    from mlx_lm.utils import load_adapters

    try:
        load_adapters(model, adapter)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the adapter {adapter} does not fit: {error}",
            "Give a folder with adapter_config.json and adapters.safetensors of mlx-lm",
        ) from error
    if mx.default_device().type == mx.cpu:
        halves = (mx.bfloat16, mx.float16)
        model.update(
            tree_map(lambda a: a.astype(mx.float32) if a.dtype in halves else a, model.parameters())
        )
    model.eval()
    mx.eval(model.parameters())


def _settings(config: ServeConfig) -> SimpleNamespace:
    """The options of mlx-lm's own command, as its server reads them."""
    return SimpleNamespace(
        model=None,
        adapter_path=None,
        draft_model=None,
        trust_remote_code=False,
        chat_template="",
        use_default_chat_template=False,
        chat_template_args={},
        pipeline=False,
        allowed_origins=list(config.allowed_origins),
        num_draft_tokens=3,
        max_tokens=config.max_tokens,
        temp=config.temperature,
        top_p=config.top_p,
        top_k=0,
        min_p=0.0,
        decode_concurrency=config.concurrency,
        prompt_concurrency=8,
        prefill_step_size=512,
        prompt_cache_size=config.prompt_cache,
        prompt_cache_bytes=None,
        kv_bits=None,
        kv_group_size=64,
        quantized_kv_start=0,
    )
