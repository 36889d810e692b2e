"""The document of load-test."""

from __future__ import annotations

from .shape import FLAG, INTEGER, NUMBER, TEXT, Schema, listed, mapping, nullable, one_of, record

__all__ = ["LOAD_TEST"]

_RATE: Schema = {"type": ["number", "string"]}
_FROM: Schema = record(
    {
        "usage": (INTEGER, "By the server."),
        "tokenizer": (INTEGER, "By --tokenizer."),
        "unknown": (INTEGER, "By nobody."),
    }
)
_STEP: Schema = record(
    {
        "request_rate": (NUMBER, "Requests a second that were asked for."),
        "good_share": (NUMBER, "Share of requests within the goodput."),
        "holds": (FLAG, "Whether that reaches the target."),
        "completed": (INTEGER, "Whole answers."),
        "failed": (INTEGER, "Requests without one."),
        "request_throughput": (NUMBER, "Whole answers a second."),
        "request_goodput": (nullable(NUMBER), "Good ones a second."),
        "output_throughput": (nullable(NUMBER), "Tokens made a second."),
    }
)
_SWEEP: Schema = record(
    {
        "goodput": (mapping(NUMBER), "Milliseconds by latency."),
        "target": (NUMBER, "Share of requests that have to be good."),
        "highest_rate": (nullable(NUMBER), "Requests a second; null if none holds."),
        "lowest_failing_rate": (nullable(NUMBER), "Null if all hold."),
        "steps": (listed(_STEP), "What was tried, in order."),
    }
)
_FIELDS = {
    "date": (TEXT, "When it began, as 20261129-153000."),
    "endpoint_type": (TEXT, "The same as backend."),
    "backend": (one_of(("openai-chat", "openai")), "Kind of request."),
    "label": (nullable(TEXT), "Always null."),
    "model_id": (TEXT, "Name of the model."),
    "tokenizer_id": (nullable(TEXT), "--tokenizer."),
    "num_prompts": (INTEGER, "Requests that were asked for."),
    "request_rate": (_RATE, 'Requests a second; "inf" for no waiting.'),
    "burstiness": (_RATE, "Shape of the times between requests."),
    "max_concurrency": (nullable(INTEGER), "Requests in flight, at most."),
    "base_url": (TEXT, "Where they went."),
    "seed": (INTEGER, "Of prompts and arrivals."),
    "interrupted": (FLAG, "Whether Ctrl-C ended it: then only finished requests count."),
    "empty": (INTEGER, "Completed answers without text, reasoning or tool call."),
    "input_tokens_from": (_FROM, "Who counted the prompts of completed requests."),
    "output_tokens_from": (_FROM, "Who counted their answers."),
    "errors_by_count": (mapping(INTEGER), "Why requests failed, most frequent first."),
    "duration": (NUMBER, "Seconds from the first request to the last answer."),
    "completed": (INTEGER, "Whole answers."),
    "failed": (INTEGER, "Requests without one."),
    "total_input_tokens": (nullable(INTEGER), "Of completed requests; null if unknown."),
    "total_output_tokens": (nullable(INTEGER), "Of completed requests; null if unknown."),
    "request_throughput": (NUMBER, "Whole answers a second."),
    "request_goodput": (nullable(NUMBER), "Those within --goodput; null without it."),
    "output_throughput": (nullable(NUMBER), "Tokens made a second."),
    "total_token_throughput": (nullable(NUMBER), "Tokens read and made a second."),
    "max_output_tokens_per_s": (nullable(NUMBER), "Most tokens in one second."),
    "max_concurrent_requests": (INTEGER, "Most requests in flight at one moment."),
    "input_lens": (listed(nullable(INTEGER)), "Tokens of each prompt."),
    "output_lens": (listed(nullable(INTEGER)), "Tokens of each answer; 0 for a failed one."),
    "ttfts": (listed(nullable(NUMBER)), "Seconds to the first token; null for none."),
    "itls": (listed(listed(NUMBER)), "Seconds between the chunks of each answer."),
    "latencies": (listed(nullable(NUMBER)), "Seconds of each answer; null for a failed one."),
    "start_times": (listed(NUMBER), "Seconds on a clock of no meaning."),
    "queue_times": (listed(NUMBER), "Seconds for which --max-concurrency held each back."),
    "generated_texts": (listed(TEXT), "What was said."),
    "errors": (listed(TEXT), "Why each failed; empty if it did not."),
    "sweep": (_SWEEP, "With --sweep."),
}
_DETAILS = (
    *("input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times"),
    *("generated_texts", "errors", "sweep"),
)

# The latencies that were asked for are further keys: mean_ttft_ms, p99_e2el_ms ...
LOAD_TEST: Schema = {**record(_FIELDS, _DETAILS), "additionalProperties": nullable(NUMBER)}
