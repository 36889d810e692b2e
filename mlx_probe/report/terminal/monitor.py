"""The dashboard of a job: one screen of text, of any size from 80 x 24."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain

from rich.console import Group, RenderableType
from rich.text import Text

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.graph import bars, buckets
from mlx_probe.report.terminal.text import printable
from mlx_probe.report.terminal.wrapping import cells, padded
from mlx_probe.runs.monitor.follow import View
from mlx_probe.runs.monitor.jobs import JobRecord
from mlx_probe.runs.monitor.sample import Sample

__all__ = ["dashboard"]

# Seconds that graphs show, at least.
SPAN = 300

_STYLES = {
    "running": "bold green",
    "paused": "bold yellow",
    "stopping": "bold red",
    "finished": "bold green",
    "not finished": "bold red",
}
_LABEL = 9


@dataclass(frozen=True)
class _Gauge:
    """One thing that is shown over time.

    Attributes:
        label: Its name.
        values: By sample.
        texts: The last value in words; the first line always, others where there is room.
        unit: A value as text.
        top: What fills the graph; None for the largest value.
        style: Of the graph.
    """

    label: str
    values: list[float | None]
    texts: tuple[str, ...]
    unit: Callable[[float | None], str]
    top: float | None = None
    style: str = "cyan"

    @property
    def over_all(self) -> tuple[str, ...]:
        """The texts for a job that is over, whose last value means little: mean and maximum."""
        known = [value for value in self.values if value is not None]
        if not known:
            return ("-",)
        mean = self.unit(sum(known) / len(known))
        most = self.unit(max(known))
        return (tr("{value} on average", value=mean), tr("{value} at most", value=most))


def dashboard(view: View, width: int, height: int, hint: str = "") -> RenderableType:
    """One frame.

    Args:
        view: The job and its samples.
        width: Columns of the terminal.
        height: Lines.
        hint: The last line: what keys do.
    """
    width = max(width, 40)
    head = _head(view, width)
    if not view.samples:
        waiting = tr("no sample yet: the first comes in a second")
        if view.is_over:
            waiting = tr("no samples")
        return Group(*head, Text(""), Text(waiting, style="dim"), *_cut([hint], width, "dim"))
    gauges = _gauges(view)
    if view.is_over:
        gauges = [replace(gauge, texts=gauge.over_all) for gauge in gauges]
    alerts = _alerts(view, width)
    # Alerts get what one line for each gauge leaves, and gauges what alerts do not need.
    room = height - len(head) - 4
    shown = alerts[-max(room - len(gauges), 1) :][-max(height // 4, 3) :]
    tall = max(1, min(6, (room - len(shown)) // len(gauges)))
    body = chain.from_iterable(_lines(gauge, width, tall) for gauge in gauges)
    lines = [
        *head,
        Text(""),
        *body,
        Text(""),
        Text(tr("alerts"), style="bold"),
        *shown,
    ]
    filled: list[RenderableType] = [*lines[: height - 1]]
    if hint:
        # At the bottom of the screen.
        filled += [Text("")] * (height - 1 - len(filled))
        filled += _cut([hint], width, "dim")
    return Group(*filled)


def _head(view: View, width: int) -> list[Text]:
    """Which job it is, how far it is, and what it is doing."""
    job, last = view.job, view.samples[-1] if view.samples else None
    name = f"{job.kind}  {translated(job.title)}" if job else tr("a run")
    passed = timedelta(seconds=int(last.seconds)) if last else ""
    session = tr("session {number}, ", number=last.session + 1) if last and last.session else ""
    state = Text.assemble(
        (_state(view.state), _STYLES.get(view.state, "bold")), f"  {session}{passed}"
    )
    left = _one(f"mlx-probe {name}", "bold")
    left.truncate(max(width - state.cell_len - 2, 10), overflow="ellipsis", pad=True)
    lines = [Text.assemble(left, "  ", state)]
    if last is None:
        return lines
    share = min(last.done / last.total, 1.0) if last.total else 0.0
    left_text = view.seconds_left
    # What a training run works through are tokens, and what others do are bytes.
    in_tokens = job is not None and job.kind == "train"
    done, total = (f"{n:,}" if in_tokens else format_size(n) for n in (last.done, last.total))
    total = tr("{count} tokens", count=total) if in_tokens else total
    counts = f" {share:4.0%}  " + tr("{done} of {total}", done=done, total=total)
    if left_text is not None:
        counts += "  " + tr("{time} left", time=timedelta(seconds=round(left_text)))
    # So that the bar does not jump with every digit.
    counts = padded(counts, 44)
    room = max(width - cells(counts), 10)
    full = round(share * room)
    lines.append(
        Text.assemble(("━" * full, "green"), ("─" * (room - full), "bright_black"), counts)
    )
    what = " " if view.state == "finished" else translated(last.what) or " "
    lines += _cut([what], width, "dim")
    return lines


def _state(state: str) -> str:
    """A job's state in the reader's language."""
    states = {
        "running": tr("running"),
        "paused": tr("paused"),
        "stopping": tr("stopping"),
        "finished": tr("finished"),
        "not finished": tr("not finished"),
    }
    return states.get(state, state)


def _gauges(view: View) -> list[_Gauge]:
    samples, job = view.samples, view.job
    memory = job.memory if job and job.memory else None
    last = samples[-1]
    gauges = [
        _Gauge(
            tr("cpu"), [s.process_cpu for s in samples], _cpu(last, job), _percent, _all_cores(job)
        ),
        _Gauge(tr("memory"), [s.process_memory for s in samples], _memory(samples), _size),
        _Gauge(
            tr("machine"),
            [s.memory_percent for s in samples],
            _machine(last, memory),
            _percent,
            100.0,
        ),
        _Gauge(tr("swap"), [s.swap_used for s in samples], _swap(last), _size, style="magenta"),
        _Gauge(
            tr("reading"), [s.read_rate for s in samples], _reading(last, job), _rate, style="green"
        ),
        _Gauge(tr("disk"), [_traffic(s) for s in samples], _disk(last), _rate, style="blue"),
    ]
    if any(s.device_memory_peak for s in samples):
        texts = (
            tr("{size} in use", size=_size(last.device_memory)),
            tr("{value} at most", value=_size(last.device_memory_peak)),
        )
        gauges.append(_Gauge(tr("device"), [s.device_memory for s in samples], texts, _size))
    if any(s.gpu_percent is not None or s.gpu_power is not None for s in samples):
        power = () if last.gpu_power is None else (f"{last.gpu_power:.1f} W",)
        texts = (tr("{share} busy", share=_percent(last.gpu_percent)), *power)
        gauges.append(_Gauge(tr("gpu"), [s.gpu_percent for s in samples], texts, _percent, 100.0))
    return gauges


def _cpu(last: Sample, job: JobRecord | None) -> tuple[str, ...]:
    cores = tr(" of {count} cores", count=job.cores) if job else ""
    if last.process_cpu is None:
        return ("-",)
    return (
        f"{last.process_cpu:.0f} %{cores}; "
        + tr("machine {share} %", share=f"{last.machine_cpu or 0:.0f}"),
        tr("others {share} % of the machine", share=f"{last.other_cpu or 0:.0f}"),
    )


def _all_cores(job: JobRecord | None) -> float | None:
    return 100.0 * job.cores if job else None


def _memory(samples: Sequence[Sample]) -> tuple[str, ...]:
    most = max((s.process_memory or 0 for s in samples), default=0)
    now = _size(samples[-1].process_memory)
    return tr("{size} in this process", size=now), tr("{value} at most", value=_size(most))


def _machine(last: Sample, memory: int | None) -> tuple[str, ...]:
    if last.memory_percent is None:
        return ("-",)
    used = f"{last.memory_percent:.1f}"
    said = tr("{share} % in use", share=used)
    if memory:
        said = tr("{share} % of {size} in use", share=used, size=format_size(memory))
    return said, tr("{size} available", size=_size(last.memory_available))


def _swap(last: Sample) -> tuple[str, ...]:
    came, went = _rate(last.swap_in_rate), _rate(last.swap_out_rate)
    traffic = tr("in {came}, out {went}", came=came, went=went)
    return tr("{size} in use", size=_size(last.swap_used)), traffic


def _reading(last: Sample, job: JobRecord | None) -> tuple[str, ...]:
    copy = job.copy_bandwidth if job else None
    share = ""
    if last.read_speed and copy:
        share = tr(", {share} of copy", share=f"{last.read_speed / copy:.0%}")
    texts = [tr("{rate} of weights", rate=_rate(last.read_rate))]
    if last.read_speed is not None:
        texts.append(tr("{rate} while reading", rate=_rate(last.read_speed)) + share)
    if copy:
        texts.append(tr("one core copies {rate}", rate=_rate(copy)))
    return tuple(texts)


def _traffic(sample: Sample) -> float | None:
    if sample.disk_read_rate is None:
        return None
    return sample.disk_read_rate + (sample.disk_write_rate or 0.0)


def _disk(last: Sample) -> tuple[str, ...]:
    free = "-" if last.disk_free is None else tr("{size} free", size=_size(last.disk_free))
    read, write = _rate(last.disk_read_rate), _rate(last.disk_write_rate)
    whose = tr(" (machine)") if last.disk_scope == "machine" else ""
    return free, tr("read {read}, write {written}", read=read, written=write) + whose


def _lines(gauge: _Gauge, width: int, height: int) -> list[Text]:
    """A gauge in as many lines as it has: its name, its graph and its texts."""
    text_width = min(max(36, width // 4), 60)
    graph_width = max(width - _LABEL - text_width - 2, 8)
    # A line is left free between tall ones.
    rows = height if height < 3 else height - 1
    values = buckets(gauge.values, graph_width, max(SPAN, graph_width))
    graph = bars(values, graph_width, rows, gauge.top)
    texts = gauge.texts if rows > 1 else _joined(gauge.texts, text_width)
    top = gauge.top or max((value for value in values if value), default=None)
    if rows > len(texts) and top:
        texts = (*texts, tr("graph up to {value}", value=gauge.unit(top)))
    lines = []
    for row in range(height):
        label = gauge.label if row == 0 else ""
        drawn = graph[row] if row < rows else ""
        text = _one(texts[row] if row < min(len(texts), rows) else "", "")
        text.truncate(text_width, overflow="ellipsis")
        lines.append(
            Text.assemble((padded(label, _LABEL), "bold"), (drawn.ljust(graph_width), gauge.style))
            + Text("  ")
            + text
        )
    return lines


def _joined(texts: Sequence[str], width: int) -> tuple[str]:
    """As many of the texts as fit in one line."""
    line = texts[0]
    for text in texts[1:]:
        if cells(line) + cells(text) + 2 <= width:
            line += f"; {text}"
    return (line,)


def _alerts(view: View, width: int) -> list[Text]:
    """Rules that are or were broken, each with its time; the latest last."""
    began: dict[str, Sample] = {}
    alerts: list[tuple[Sample, str, Sample | None]] = []
    texts: dict[str, str] = {}
    for sample in view.samples:
        now = {text.split(":")[0]: text for text in sample.alerts}
        for rule in [rule for rule in began if rule not in now]:
            alerts.append((began.pop(rule), texts[rule], sample))
        for rule, text in now.items():
            if rule not in began:
                began[rule], texts[rule] = sample, text
            elif rule in now:
                texts[rule] = text
    alerts += [(sample, texts[rule], None) for rule, sample in began.items()]
    if not alerts:
        rules = view.job.rules if view.job else ()
        listed = ", ".join(rules) or tr("none")
        return _cut([tr("none; the rules: {rules}", rules=listed)], width, "dim")
    alerts.sort(key=lambda entry: entry[0].created_at)
    lines = []
    for start, text, end in alerts:
        at = start.created_at.astimezone().strftime("%H:%M:%S")
        if end is None:
            lines += _cut([f"{at}  {translated(text)}"], width, "yellow")
        else:
            seconds = (end.created_at - start.created_at).total_seconds()
            lasted = tr("{alert}, for {time} s", alert=translated(text), time=f"{seconds:.0f}")
            lines += _cut([f"{at}  {lasted}"], width, "dim")
    return lines


def _cut(texts: Sequence[str], width: int, style: str) -> list[Text]:
    lines = []
    for text in texts:
        line = _one(text, style)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def _one(text: str, style: str) -> Text:
    """Text from anywhere, harmless and on one line."""
    return Text.from_markup(printable(text), style=style)


def _size(nbytes: float | None) -> str:
    return "-" if nbytes is None else format_size(round(nbytes))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0f} %"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{format_size(round(rate))}/s"
