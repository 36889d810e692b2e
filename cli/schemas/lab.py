"""Documents of generate."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, one_of, record

__all__ = ["GENERATION"]

GENERATION: Schema = record(
    {
        "model": (TEXT, "The reference."),
        "prompt": (TEXT, "The text that was given."),
        "prompt_tokens": (INTEGER, "Tokens of the prompt, those of a chat template included."),
        "text": (TEXT, "The text that follows, without a stop text."),
        "tokens": (listed(INTEGER), "Its tokens, the one that ended it included."),
        "finish_reason": (
            one_of(("stop", "length", "interrupted")),
            "A token or text that ends it; all tokens made or the context full; Ctrl-C.",
        ),
        "tokens_per_second": (nullable(NUMBER), "After the first token; null for one token."),
        "prompt_seconds": (NUMBER, "Until the first token."),
        "settings": (
            record(
                {
                    "chat": (FLAG, "Whether the chat template was used."),
                    "system": (nullable(TEXT), "The system message."),
                    "max_tokens": (INTEGER, "Tokens, at most."),
                    "stop": (listed(TEXT), "Texts that end the generation."),
                    "temperature": (NUMBER, "Divides the logits."),
                    "top_k": (INTEGER, "Most likely tokens that stay; 0 for all."),
                    "top_p": (NUMBER, "Probability of the smallest set that stays."),
                    "min_p": (NUMBER, "Least share of the largest probability."),
                    "repetition_penalty": (NUMBER, "For tokens that were there before."),
                    "seed": (INTEGER, "Of the draws."),
                }
            ),
            "All that decides the text, beside the model.",
        ),
        "context": (nullable(INTEGER), "Positions of the model; null if it does not say."),
        "dtype": (TEXT, "Type of the weights that it was computed with."),
        "device": (TEXT, "Where."),
        "runs_by": (one_of(("mlx-probe", "mlx-lm")), "Whose model class."),
    }
)
