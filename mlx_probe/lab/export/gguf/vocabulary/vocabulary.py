"""What a GGUF file says about a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf import GGUFWriter

__all__ = ["Core", "Ends", "Vocabulary"]


@dataclass(frozen=True)
class Core:
    """How text becomes tokens.

    Attributes:
        model: llama.cpp's algorithm: "llama" for SentencePiece's BPE, "gpt2" for byte-level BPE.
        pre: How text is cut into words before it.
        tokens: Spelling of each id.
        types: Numbers of `gguf.TokenType`.
        scores: Of "llama": the pair with the highest one is merged first.
        merges: Of "gpt2": pairs in the order in which they are merged, with a space between.
        space_prefix: Whether a space is put before a text.
        notes: Where the ids may differ all the same.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None
    space_prefix: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ends:
    """Tokens with a role.

    Attributes:
        bos: Begins a text.
        eos: Ends it.
        eot: Ends a message; None if nothing else than ``eos`` does.
        pad: Fills a batch; None if there is none.
        adds_bos: Whether the tokenizer puts ``bos`` before a text.
        adds_eos: Whether it puts ``eos`` behind it.
    """

    bos: int
    eos: int
    eot: int | None
    pad: int | None
    adds_bos: bool
    adds_eos: bool


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer in llama.cpp's terms.

    Attributes:
        core: How text becomes tokens.
        tokens: Spelling of each id of the model, added and unused ones included.
        types: Their types.
        ends: Tokens with a role.
        chat_template: Jinja; None if there is none.
    """

    core: Core
    tokens: list[str]
    types: list[int]
    ends: Ends
    chat_template: str | None

    @property
    def kind(self) -> str:
        """llama.cpp's names of the algorithm and of the cut."""
        return f"{self.core.model}, {self.core.pre}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the ids may differ all the same."""
        return self.core.notes

    def add_to(self, writer: GGUFWriter) -> None:
        """Put it into a file's metadata."""
        core, ends = self.core, self.ends
        writer.add_tokenizer_model(core.model)
        writer.add_tokenizer_pre(core.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if core.scores is not None:
            # Added and unused tokens come last: no pair makes them.
            rest = [-1e6] * (len(self.tokens) - len(core.scores))
            writer.add_token_scores([*core.scores, *rest])
        if core.merges is not None:
            writer.add_token_merges(core.merges)
        writer.add_bos_token_id(ends.bos)
        writer.add_eos_token_id(ends.eos)
        if ends.eot is not None:
            writer.add_eot_token_id(ends.eot)
        if ends.pad is not None:
            writer.add_pad_token_id(ends.pad)
        writer.add_add_bos_token(ends.adds_bos)
        writer.add_add_eos_token(ends.adds_eos)
        writer.add_add_space_prefix(core.space_prefix)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)
