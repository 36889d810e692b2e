"""Documents of train, generate, evaluate and export."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, nullable, one_of, record

__all__ = ["EVALUATION", "EXPORTED", "GENERATION", "TRAINED"]

_FOUND: Schema = record(
    {
        "step": (INTEGER, "After which step."),
        "val_loss": (NUMBER, "Nats a token of the validation text."),
        "val_bpb": (NUMBER, "Bits for each byte of it; comparable between vocabularies."),
    }
)

TRAINED: Schema = record(
    {
        "folder": (TEXT, "The run folder."),
        "model": (TEXT, "The final model, in Hugging Face's layout."),
        "parameters": (INTEGER, "Numbers that were learned."),
        "vocabulary": (INTEGER, "Tokens."),
        "planned_steps": (INTEGER, "Steps of the recipe."),
        "steps_done": (INTEGER, "Steps that were made."),
        "stopped_early": (FLAG, "Whether `train.patience` ended it before; exit code 4."),
        "tokens": (INTEGER, "Tokens trained on."),
        "final": (_FOUND, "The last evaluation."),
        "best": (_FOUND, "The best one."),
        "device": (TEXT, "Where it was trained."),
        "compiled": (FLAG, "Whether the steps were compiled."),
        "compile_reason": (TEXT, "Why, or why not."),
        "training_seconds": (NUMBER, "From the first step to the last, over all starts."),
        "throughput": (
            record(
                {
                    "tokens_per_second": (NUMBER, "Of the steps alone."),
                    "flops_per_second": (NUMBER, "Operations of forward and backward pass."),
                    "product_rate": (
                        NUMBER,
                        "Operations a second in products of the model's sizes.",
                    ),
                    "share_of_product": (NUMBER, "The quotient of both."),
                }
            ),
            "How fast.",
        ),
        "passed": (FLAG, "Whether all checks passed."),
        "failures": (listed(TEXT), "Failed checks."),
    }
)

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

# Null where no token stands for text.
_INTERVAL: Schema = listed(nullable(NUMBER))

EVALUATION: Schema = record(
    {
        "model": (TEXT, "The reference."),
        "task": (TEXT, "What was measured."),
        "data": (TEXT, "The text."),
        "split": (nullable(TEXT), "Part of tokenized data; null for text."),
        "val_loss": (NUMBER, "Mean nats a token."),
        "perplexity": (NUMBER, "exp(val_loss)."),
        "bits_per_byte": (
            nullable(NUMBER),
            "Nats of tokens that stand for text / (ln 2 x their bytes).",
        ),
        "intervals": (
            record(
                {
                    "level": (NUMBER, "Share of resamples inside."),
                    "unit": (one_of(("documents", "windows")), "What was resampled."),
                    "units": (INTEGER, "How many there are."),
                    "resamples": (INTEGER, "Resamples."),
                    "seed": (INTEGER, "Of the resamples."),
                    "val_loss": (_INTERVAL, "Lower and upper end."),
                    "perplexity": (_INTERVAL, "Lower and upper end."),
                    "bits_per_byte": (_INTERVAL, "Lower and upper end."),
                }
            ),
            "Bootstrap intervals.",
        ),
        "tokens": (INTEGER, "Tokens that were predicted."),
        "bytes": (INTEGER, "Bytes of text that they stand for."),
        "documents": (INTEGER, "Documents with such a token."),
        "context": (INTEGER, "Tokens that the model saw at most."),
        "stride": (INTEGER, "Tokens between the beginnings of two windows."),
        "tokenizer": (TEXT, "SHA-256 of what decides the token ids."),
        "data_fingerprint": (nullable(TEXT), "SHA-256 of tokenized data; null for text."),
        "retokenized": (FLAG, "Whether tokenized data were encoded anew by the model's tokenizer."),
        "dtype": (TEXT, "Type of the weights that it was computed with."),
        "device": (TEXT, "Where."),
        "runs_by": (one_of(("mlx-probe", "mlx-lm")), "Whose model class."),
        "seconds": (NUMBER, "Time of the predictions."),
    }
)

EXPORTED: Schema = record(
    {
        "to": (one_of(("gguf",)), "The format."),
        "model": (TEXT, "The reference."),
        "file": (TEXT, "What was written."),
        "type": (one_of(("f32", "f16", "bf16")), "Type of the matrices in it."),
        "architecture": (TEXT, "Its name of the model's architecture."),
        "parameters": (INTEGER, "Numbers in it."),
        "tensors": (INTEGER, "Tensors in it."),
        "bytes": (INTEGER, "Its size."),
        "tokenizer": (TEXT, "Its names of the tokenizer's algorithm and of how it cuts text."),
        "vocabulary": (INTEGER, "Tokens, unused ones included."),
        "notes": (listed(TEXT), "What the format cannot say as the model does."),
    }
)
