"""Results of tasks that ask questions, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.report.terminal.plain import one_line
from mlx_probe.report.terminal.wrapping import cells, padded

__all__ = [
    "answers_text",
    "comparison_text",
    "difference_texts",
    "measured_rows",
    "measured_texts",
    "paired_titles",
]

# Faulty items, and examples of an error, that are shown.
_SHOWN = 5


def answers_text(result: Mapping[str, Any]) -> str:
    """Metrics with their intervals, then what went wrong, the most frequent first.

    Args:
        result: From `evaluate`, of a task that asks questions.
    """
    lines = [f"{one_line(str(result['model']))}: {one_line(result['data'])}"]
    lines += _table([(title, *measured_texts(record)) for title, record in measured_rows(result)])
    missing = result["items"] - result["answered"]
    if missing:
        lines.append(
            tr("questions without an answer, which count as wrong: {count}", count=missing)
        )
    if result["cut_off"]:
        lines.append(
            tr("answers cut off by --max-tokens or the context: {count}", count=result["cut_off"])
        )
    if result["errors"]:
        lines += ["", tr("What went wrong")]
        lines += _table(
            [
                (group["error"], str(group["items"]), _examples(group["examples"]))
                for group in result["errors"]
            ]
        )
    lines += _faulty(result.get("faulty") or ())
    return "\n".join(lines)


def measured_rows(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What was measured, each with its title.

    Args:
        result: From `evaluate`, of a task that asks questions.
    """
    if "metrics" in result:
        titles = _titles()
        return [(titles.get(name, name), record) for name, record in result["metrics"].items()]
    rows = [(each["category"], each["accuracy"]) for each in result["categories"]]
    for each in result["categories"]:
        if each["strict"] is not None:
            name = tr("{category}, broken calls are wrong", category=each["category"])
            rows.append((name, each["strict"]))
    rows.append((tr("all"), result["accuracy"]))
    if result["faulty"]:
        rows.append((tr("all but faulty items"), result["accuracy_without_faulty"]))
    return rows


def comparison_text(result: Mapping[str, Any]) -> str:
    """The differences of two results, with their intervals and p.

    Args:
        result: From `compare_results`.
    """
    lines = [
        tr(
            "{second} against {first}: {items} items of {task}",
            first=one_line(result["first"]),
            second=one_line(result["second"]),
            items=result["items"],
            task=result["task"],
        )
    ]
    titles = _titles() | {
        "accuracy": tr("accuracy"),
        "strict": tr("accuracy, broken calls are wrong"),
    }
    rows = []
    for name, record in result["metrics"].items():
        if not record["items"]:
            continue
        difference, interval, p = difference_texts(record)
        ends = f"{record['first']:.3f} → {record['second']:.3f}"
        rows.append((titles.get(name, name), ends, difference, interval, p and f"p {p}"))
    lines += _table(rows)
    lines.append(
        tr(
            "became right: {right}; became wrong: {wrong}",
            right=len(result["became_right"]),
            wrong=len(result["became_wrong"]),
        )
    )
    left = result["only_in_first"] + result["only_in_second"]
    if left:
        lines.append(tr("items of one of them only, left out: {count}", count=left))
    return "\n".join(lines)


def paired_titles(result: Mapping[str, Any]) -> dict[str, str]:
    """The rows of `measured_rows` that are metrics of single items too, by the metrics' names.

    Args:
        result: From `evaluate`, of a task that asks questions.
    """
    if "metrics" in result:
        return _titles()
    strict = any(each["strict"] is not None for each in result["categories"])
    # Elsewhere it is the accuracy.
    of_all = {"strict": tr("accuracy, broken calls are wrong")} if strict else {}
    return {"accuracy": tr("all"), **of_all}


def difference_texts(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """The difference of two results, its interval, and p.

    Args:
        record: One of the metrics of `compare_results`, of at least one item.
    """
    low, high = record["interval"]
    p = "" if record["p"] is None else f"{record['p']:.2g}"
    return f"{record['difference']:+.3f}", f"[{low:+.3f}, {high:+.3f}]", p


def _titles() -> dict[str, str]:
    return {
        "parse_rate": tr("can be read"),
        "name_accuracy": tr("right functions"),
        "parameter_f1": tr("F1 of parameters"),
        "schema_rate": tr("hold the schema"),
        "execution_rate": tr("run as wanted"),
        "all_together": tr("all together"),
    }


def measured_texts(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """The value of what was measured, its interval, and of how many items."""
    if record["value"] is None:
        return tr("not measured"), "", ""
    low, high = record["interval"]
    of = f"{record['items']}" if record["count"] is None else f"{record['count']}/{record['items']}"
    return f"{record['value']:.3f}", f"[{low:.3f}, {high:.3f}]", of


def _examples(examples: Sequence[Mapping[str, Any]]) -> str:
    first = examples[0]
    return one_line(f"{first['id']}: {first['detail']}" if first["detail"] else first["id"])[:100]


def _faulty(faulty: Sequence[Mapping[str, Any]]) -> list[str]:
    if not faulty:
        return []
    lines = ["", tr("faulty items, as their own data show: {count}", count=len(faulty))]
    lines += _table([(item["id"], one_line(item["reason"])) for item in faulty[:_SHOWN]])
    if len(faulty) > _SHOWN:
        lines.append("  …")
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(cells(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(padded(c, w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
