"""The parts of a page of training runs that need no script: sentences, samples, settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlx_probe.analysis.training.outcome import outcome_texts
from mlx_probe.analysis.training.statement import Statement
from mlx_probe.analysis.training.statements import RULES
from mlx_probe.core.language import tr
from mlx_probe.report.html.markup import html_text
from mlx_probe.report.html.sections import cost_table, fact_list, fact_table
from mlx_probe.report.training_facts import differing_settings, result_facts, setting_facts

if TYPE_CHECKING:
    from mlx_probe.report.training_data import TrainingData

__all__ = ["samples_section", "settings_html", "summary_section"]

# Samples of one run, and characters of one sample.
_MOST_SAMPLES, _MOST_CHARACTERS = 100, 4000
# The latest ones are in view.
_OPEN = 3
# Links of one sentence.
_MOST_LINKS = 20


def summary_section(runs: Sequence[TrainingData]) -> str:
    """What happened in each run, in sentences, and by which rules they were made."""
    parts = []
    for at, run in enumerate(runs):
        if len(runs) > 1:
            parts.append(f"<h3>{html_text(_marked(runs, at))}</h3>")
        items = [f"<li>{html_text(text.shown)}</li>" for text in outcome_texts(run.outcome)]
        items += [_item(statement, runs, at) for statement in run.said]
        parts.append(f'<ul class="findings">{"".join(items)}</ul>')
        if run.run.torn:
            text = tr(
                "The last line of the metrics is being written, or was cut off: it is left out."
            )
            parts.append(f'<p class="note">{html_text(text)}</p>')
    heading = html_text(tr("In words"))
    # Of tunings alone nothing is said by these rules.
    if not all(run.run.is_tuning for run in runs):
        rules = "".join(f'<p class="note">{html_text(rule.shown)}</p>' for rule in RULES)
        how = html_text(tr("How these sentences are made"))
        parts.append(f"<details><summary>{how}</summary>{rules}</details>")
    return f'<section id="summary" class="card wide"><h2>{heading}</h2>{"".join(parts)}</section>'


def _item(statement: Statement, runs: Sequence[TrainingData], at: int) -> str:
    text = html_text(statement.sentence.shown)
    if not statement.names:
        return f"<li>{text}</li>"
    letter = chr(65 + at)
    run = f"tensor.run={letter}&amp;" if at else ""
    links = ", ".join(
        f'<a href="#at=spectra&amp;{run}tensor={quote(name, safe="")}">{html_text(name)}</a>'
        for name in statement.names[:_MOST_LINKS]
    )
    left = len(statement.names) - _MOST_LINKS
    if left > 0:
        links += html_text(tr(" and {count} more", count=left))
    which = html_text(tr("The matrices"))
    return (
        f'<li>{text}<details><summary>{which}</summary><p class="note">{links}</p></details></li>'
    )


def _marked(runs: Sequence[TrainingData], at: int) -> str:
    return f"{chr(65 + at)}: {runs[at].label}" if len(runs) > 1 else runs[at].label


def samples_section(runs: Sequence[TrainingData]) -> str:
    """The samples of text of each run, the latest first; empty where none has any."""
    parts = []
    for at, run in enumerate(runs):
        samples = run.run.samples
        if not len(samples):
            continue
        if len(runs) > 1:
            parts.append(f"<h3>{html_text(_marked(runs, at))}</h3>")
        columns = (samples[name].tolist() for name in ("step", "prompt", "text"))
        rows = list(zip(*columns, strict=True))[::-1]
        every = -(-len(rows) // _MOST_SAMPLES)
        kept = rows[::every]
        if len(kept) < len(rows):
            text = tr("{kept} of {count} samples are shown.", kept=len(kept), count=len(rows))
            parts.append(f'<p class="note">{html_text(text)}</p>')
        parts += [
            _sample(step, prompt, text, number < _OPEN)
            for number, (step, prompt, text) in enumerate(kept)
        ]
    if not parts:
        return ""
    heading = html_text(tr("Samples"))
    return f'<section id="samples" class="card wide"><h2>{heading}</h2>{"".join(parts)}</section>'


def _sample(step: int, prompt: str, text: str, is_open: bool) -> str:
    shown = text[:_MOST_CHARACTERS]
    more = html_text(tr("… {count} more characters", count=len(text) - len(shown)))
    rest = f'<span class="note">{more}</span>' if len(text) > len(shown) else ""
    begun = f"<mark>{html_text(prompt)}</mark>" if prompt else ""
    heading = html_text(tr("Step {step}", step=f"{step:,}"))
    written = f"<bdi>{begun}{html_text(shown)}</bdi>{rest}"
    return (
        f"<details{' open' if is_open else ''}><summary>{heading}</summary>"
        f'<pre class="sample" tabindex="0">{written}</pre></details>'
    )


def settings_html(runs: Sequence[TrainingData]) -> str:
    """All settings and the cost of one run; of several the settings that differ."""
    if len(runs) == 1:
        return fact_list(setting_facts(runs[0])) + cost_table(runs[0].run.meta)
    heads = [_marked(runs, at) for at in range(len(runs))]
    differ = differing_settings(runs)
    if not differ[0]:
        return f'<p class="note">{html_text(tr("All settings agree."))}</p>'
    return fact_table(tr("Settings that differ"), differ, heads)


def results_html(runs: Sequence[TrainingData]) -> str:
    """The results of several runs beside each other."""
    heads = [_marked(runs, at) for at in range(len(runs))]
    return fact_table(tr("Results"), [result_facts(run) for run in runs], heads)
