"""Documents of the tasks of evaluate that ask questions."""

from __future__ import annotations

from .shape import INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, one_of, record

__all__ = ["BFCL", "COMPARISON", "FUNCTION_CALLS"]

_MEASURED: Schema = record(
    {
        "value": (nullable(NUMBER), "Share or mean over the items; null if it was not measured."),
        "interval": (nullable(listed(NUMBER)), "Lower and upper end, 95 %."),
        "count": (nullable(INTEGER), "Items that are right; null of a mean."),
        "items": (INTEGER, "Items that it applies to."),
        "method": (one_of(("wilson", "bootstrap")), "How the interval was made."),
    }
)

_METRICS: Schema = record(
    {
        "parse_rate": (_MEASURED, "Answers that can be read, with a call where one is wanted."),
        "name_accuracy": (_MEASURED, "Answers that call the right functions, as often as wanted."),
        "parameter_f1": (_MEASURED, "Mean F1 of names and values of parameters."),
        "schema_rate": (_MEASURED, "Answers whose calls hold the functions' schemas."),
        "execution_rate": (_MEASURED, "Answers whose calls do what the wanted ones do."),
        "all_together": (_MEASURED, "Answers that are exactly the wanted calls."),
    }
)

_ERRORS: Schema = listed(
    record(
        {
            "error": (TEXT, "What went wrong first."),
            "items": (INTEGER, "Items where it did."),
            "examples": (
                listed(record({"id": (TEXT, "The item."), "detail": (TEXT, "The same in words.")})),
                "At most five of them.",
            ),
        }
    )
)

_BEFORE = {
    "model": (TEXT, "The reference, the model's name at an address, or the file of answers."),
    "task": (TEXT, "What was measured."),
    "data": (TEXT, "Where the questions are."),
    "items": (INTEGER, "Questions."),
    "answered": (INTEGER, "Questions with an answer; the others count as wrong."),
    "cut_off": (INTEGER, "Answers that --max-tokens or the model's context has cut off."),
}
_BEHIND = {
    "errors": (_ERRORS, "What went wrong, the most frequent first."),
    "settings": (
        record(
            {
                "prompting": (one_of(("tools", "words")), "How functions were shown."),
                "system": (TEXT, "System prompt of questions that have none."),
                "max_tokens": (INTEGER, "Tokens of an answer, at most."),
                "temperature": (NUMBER, "0 for the most likely token."),
                "seed": (INTEGER, "Of draws and resamples."),
                "items": (TEXT, 'Which questions; "" for all.'),
                "split": (TEXT, "Part of prepared data."),
            }
        ),
        "How it was asked.",
    ),
    "device": (nullable(TEXT), "Where; null of an address or a file."),
    "dtype": (nullable(TEXT), "Type of the weights that it was computed with."),
    "runs_by": (nullable(TEXT), "Whose model class, or the address."),
    "seconds": (NUMBER, "Time of this call."),
}

FUNCTION_CALLS: Schema = record(
    {
        **_BEFORE,
        "metrics": (_METRICS, "Over all items."),
        "categories": (
            listed(
                record(
                    {
                        "category": (
                            one_of(("one_call", "several_calls", "no_call")),
                            "What is wanted.",
                        ),
                        "metrics": (_METRICS, "Over its items."),
                    }
                )
            ),
            "The same by what is wanted.",
        ),
        **_BEHIND,
    }
)

BFCL: Schema = record(
    {
        **_BEFORE,
        "accuracy": (_MEASURED, "Over all items, as the leaderboard judges them."),
        "accuracy_without_faulty": (_MEASURED, "Over the items that are not listed as faulty."),
        "categories": (
            listed(
                record(
                    {
                        "category": (TEXT, "Its name."),
                        "accuracy": (_MEASURED, "As the leaderboard judges."),
                        "strict": (
                            nullable(_MEASURED),
                            "Of irrelevance: broken calls, and nothing at all, are wrong.",
                        ),
                        "faulty": (INTEGER, "Items that are listed as faulty."),
                    }
                )
            ),
            "By category.",
        ),
        "faulty": (
            listed(record({"id": (TEXT, "The item."), "reason": (TEXT, "What shows it.")})),
            "Items that contradict themselves.",
        ),
        **_BEHIND,
    }
)

_DIFFERENCE: Schema = record(
    {
        "items": (INTEGER, "Items that both have it of."),
        "first": (nullable(NUMBER), "Share or mean of the first result."),
        "second": (nullable(NUMBER), "Of the second one."),
        "difference": (nullable(NUMBER), "Second minus first."),
        "interval": (nullable(listed(NUMBER)), "Its bootstrap interval over the items, 95 %."),
        "only_first": (nullable(INTEGER), "Items right in the first result only; null of a mean."),
        "only_second": (nullable(INTEGER), "Items right in the second one only."),
        "p": (nullable(NUMBER), "McNemar's exact test, two-sided."),
    }
)

COMPARISON: Schema = record(
    {
        "first": (TEXT, "A folder of results."),
        "second": (TEXT, "Another one."),
        "models": (listed(TEXT), "What they are of."),
        "task": (TEXT, "Which task."),
        "items": (INTEGER, "Items of both."),
        "only_in_first": (INTEGER, "Items that the second one lacks; left out."),
        "only_in_second": (INTEGER, "Items that the first one lacks; left out."),
        "metrics": (mapping(_DIFFERENCE), "By metric."),
        "became_right": (listed(TEXT), "Items that are right in the second one only."),
        "became_wrong": (listed(TEXT), "Items that are right in the first one only."),
    }
)
