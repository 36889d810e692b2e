"""Documents of train, tune, generate, evaluate, merge and export."""

from __future__ import annotations

from .shape import (
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    listed,
    mapping,
    nullable,
    one_of,
    record,
)

__all__ = [
    "EVALUATION",
    "EXPORTED",
    "GENERATION",
    "MERGED",
    "MODEL_CARD",
    "MODEL_FACTS",
    "MODEL_VERIFIED",
    "TRAINED",
    "TUNED",
    "TUNING_PLAN",
]

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

_SPLIT: Schema = record(
    {
        "examples": (INTEGER, "Conversations, or their answers one by one."),
        "tokens": (INTEGER, "All of their tokens."),
        "answer_tokens": (INTEGER, "Those that the assistant writes."),
        "longest": (INTEGER, "Tokens of the longest one."),
    }
)
_CONVERSATIONS: Schema = record(
    {
        "sources": (listed(TEXT), "The folder."),
        "fingerprint": (TEXT, "SHA-256 of all tokens, and of which are learned."),
        "max_tokens": (INTEGER, "Longest that an example may be."),
        "splits": (
            record(
                {
                    "train": (_SPLIT, "To learn from."),
                    "validation": (_SPLIT, "To evaluate with."),
                }
            ),
            "What is used.",
        ),
        "skipped": (
            listed(
                record(
                    {
                        "file": (TEXT, "Its name."),
                        "reason": (TEXT, "Why they are left out or cut."),
                        "count": (INTEGER, "How many."),
                    }
                )
            ),
            "What is left out or cut; skipped.jsonl names each.",
        ),
    }
)
_MEMORY: Schema = record(
    {
        "weights": (INTEGER, "Bytes."),
        "learning": (INTEGER, "Bytes of gradients and optimizer."),
        "activations": (INTEGER, "Bytes of the largest batch, estimated."),
        "rows": (INTEGER, "Its examples."),
        "length": (INTEGER, "Their padded length."),
        "answers": (INTEGER, "Its learned tokens."),
        "available": (INTEGER, "Bytes of the machine, or of its GPU."),
        "total": (INTEGER, "Sum of the first three."),
    }
)
_METHOD = one_of(("lora", "dora", "full"))
_OBJECTIVE = one_of(("sft", "grpo"))
_MEASURED: Schema = record(
    {
        "step": (INTEGER, "After which step."),
        "val_loss": (NUMBER, "Nats a token of the validation answers; not with GRPO."),
        "val_bpb": (NUMBER, "Bits for each byte of them; not with GRPO."),
        "val_reward": (NUMBER, "Mean reward of the held-out prompts; only with GRPO."),
    },
    optional=("val_loss", "val_bpb", "val_reward"),
)

TUNING_PLAN: Schema = record(
    {
        "base": (TEXT, "Reference of the model."),
        "objective": (_OBJECTIVE, "Answers as they are (sft), or rewards (grpo)."),
        "method": (_METHOD, "What is learned."),
        "parameters": (INTEGER, "Of the model, without adapters."),
        "learned_parameters": (INTEGER, "Numbers that are learned."),
        "steps": (INTEGER, "Updates."),
        "tokens": (INTEGER, "Tokens that are read in all steps."),
        "epochs": (NUMBER, "How often each example is learned from."),
        "data": (_CONVERSATIONS, "The conversations."),
        "memory": (_MEMORY, "Memory at its peak."),
        "device": (TEXT, "Where MLX computes."),
        "fits": (FLAG, "Whether the memory is enough."),
        "problem": (nullable(TEXT), "What is wrong where it is not."),
        "remedy": (nullable(TEXT), "What to change then."),
    }
)

TUNED: Schema = record(
    {
        "folder": (TEXT, "The run folder."),
        "adapter": (TEXT, "The final adapter, as mlx-lm loads it."),
        "base": (TEXT, "Reference of the model."),
        "base_folder": (TEXT, "Where its files are."),
        "objective": (_OBJECTIVE, "Answers as they are (sft), or rewards (grpo)."),
        "method": (_METHOD, "What was learned."),
        "parameters": (INTEGER, "Of the model, without adapters."),
        "learned_parameters": (INTEGER, "Numbers that were learned."),
        "quantized": (FLAG, "Whether the base is."),
        "planned_steps": (INTEGER, "Steps of the recipe."),
        "steps_done": (INTEGER, "Steps that were made."),
        "stopped_early": (FLAG, "Whether `train.patience` ended it before; exit code 4."),
        "tokens": (INTEGER, "Tokens that were read."),
        "epochs": (NUMBER, "How often each example was planned to be learned from."),
        "initial": (_MEASURED, "The evaluation before the first step."),
        "final": (_MEASURED, "The last evaluation."),
        "best": (_MEASURED, "The best one."),
        "reward": (
            nullable(
                record(
                    {
                        "items": (INTEGER, "Held-out prompts."),
                        "first": (NUMBER, "Mean reward before the first step."),
                        "second": (NUMBER, "After the last evaluation."),
                        "difference": (NUMBER, "Second minus first."),
                        "interval": (
                            listed(NUMBER),
                            "Its 95 % interval, by bootstrap over the prompts.",
                        ),
                    }
                )
            ),
            "What GRPO brought; null with sft.",
        ),
        "data": (_CONVERSATIONS, "The conversations."),
        "memory": (_MEMORY, "Memory at its peak, as it was predicted."),
        "peak_memory": (INTEGER, "Bytes by MLX's count, from the first step to the last."),
        "device": (TEXT, "Where it was tuned."),
        "compiled": (FLAG, "Whether the steps were compiled."),
        "compile_reason": (TEXT, "Why, or why not."),
        "training_seconds": (NUMBER, "From the first step to the last, over all starts."),
        "differences": (
            record(
                {
                    "snapshots": (listed(INTEGER), "Steps whose adapter is kept."),
                    "compared": (listed(INTEGER), "Those that are compared with the base."),
                    "failed": (mapping(TEXT), "Why others are not, by the step."),
                }
            ),
            "What it did to each matrix: snapshots/step-N/difference.",
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
        "to": (one_of(("gguf", "mlx", "peft")), "The format."),
        "model": (TEXT, "The reference."),
        "file": (TEXT, "What was written: a file, or a folder."),
        "type": (TEXT, "Type of the matrices in it, as in `--type`; `4bit` for `--bits 4`."),
        "architecture": (TEXT, "Its name of the model's architecture; of an adapter its kind."),
        "parameters": (INTEGER, "Numbers in it."),
        "tensors": (INTEGER, "Tensors in it."),
        "bytes": (INTEGER, "Size of the files with weights."),
        "tokenizer": (
            nullable(TEXT),
            "Its names of the tokenizer's algorithm and of how it cuts text; null beside gguf.",
        ),
        "vocabulary": (nullable(INTEGER), "Tokens, unused ones included; null for an adapter."),
        "notes": (listed(TEXT), "What the format cannot say as the model does."),
    }
)

MERGED: Schema = record(
    {
        "base": (TEXT, "The reference of the base."),
        "adapter": (TEXT, "The reference of the adapter."),
        "folder": (TEXT, "Where the model is, in Hugging Face's layout."),
        "kind": (TEXT, "What the adapter is: `lora`, `dora`, or another kind of PEFT."),
        "layout": (one_of(("peft", "mlx-lm", "gguf")), "Whose adapter it is."),
        "ranks": (listed(INTEGER), "Ranks of its factors."),
        "changed": (INTEGER, "Tensors that it changed."),
        "tensors": (INTEGER, "Tensors of the model."),
        "unpacked": (INTEGER, "Tensors that were packed, and are plain now."),
        "parameters": (INTEGER, "Numbers in the model."),
        "bytes": (INTEGER, "Size of its weights."),
        "files": (listed(TEXT), "Names of the files with weights."),
        "notes": (listed(TEXT), "What else is different."),
    }
)

MODEL_VERIFIED: Schema = record(
    {
        "model": (TEXT, "The reference."),
        "folder": (TEXT, "Its files."),
        "files": (
            listed(
                record(
                    {
                        "name": (TEXT, "Name of the file."),
                        "bytes": (INTEGER, "Its size."),
                        "sha256": (TEXT, "64 hex digits."),
                    }
                )
            ),
            "The files that decide what the model says.",
        ),
        "sha256": (TEXT, "One hash for all: of the lines `HASH  NAME`, by name."),
        "checks": (
            listed(
                record(
                    {
                        "name": (TEXT, "`hash`, `tensors`, `loads`, `generates`, and others."),
                        "passed": (FLAG, "Whether it holds."),
                        "text": (TEXT, "What was seen."),
                    }
                )
            ),
            "What was tried, up to the first that fails.",
        ),
        "prompt": (TEXT, "The text that was continued."),
        "text": (TEXT, "What the model made of it, always the most likely token."),
        "tokens": (listed(INTEGER), "The tokens of that."),
        "passed": (FLAG, "Whether all checks hold; exit code 1 if not."),
    }
)

MODEL_FACTS: Schema = record(
    {
        "model": (TEXT, "The reference."),
        "path": (TEXT, "Its folder or file."),
        "format": (TEXT, "Format of its files: `safetensors`, `gguf` and others."),
        "architecture": (
            mapping(ANYTHING),
            "Family, layers, widths and heads, as far as its files say.",
        ),
        "context": (nullable(INTEGER), "Positions that it was trained on."),
        "parameters": (INTEGER, "Numbers in it."),
        "bytes": (INTEGER, "Size of its tensors."),
        "bits": (NUMBER, "Bits for each number, scales included."),
        "tensors": (INTEGER, "Its parameters."),
        "types": (mapping(INTEGER), "Numbers by the type that they are stored in."),
        "tied": (nullable(FLAG), "Whether the output head is the embedding."),
        "tokenizer": (nullable(TEXT), "The algorithm of its tokenizer."),
        "tokens": (nullable(INTEGER), "Tokens of it."),
        "chat": (FLAG, "Whether it has a chat template."),
        "adapter": (
            nullable(mapping(ANYTHING)),
            "Kind, layout, ranks, scale and targets of an adapter.",
        ),
    }
)

MODEL_CARD: Schema = record(
    {
        "file": (nullable(TEXT), "The card; null with `--out -`."),
        "sections": (listed(TEXT), "Titles of its sections."),
        "text": (TEXT, "Markdown with its block of metadata."),
    }
)
