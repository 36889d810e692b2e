"""The dashboard's frames: their size, what they say, and that nothing escapes from them."""

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looks import GB, job, look
from rich.console import Console

from mlx_probe.report.terminal.graph import bars, buckets
from mlx_probe.report.terminal.monitor import dashboard
from mlx_probe.runs.monitor.follow import View

SIZES = [(80, 24), (200, 50), (120, 30), (60, 15), (300, 80)]
HINT = "q leaves"


def frame(view, width=80, height=24, hint=HINT):
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, highlight=False, color_system=None)
    console.print(dashboard(view, width, height, hint))
    return file.getvalue().rstrip("\n").split("\n")


def looking(count=60, **values):
    samples = tuple(
        look(
            i,
            done=i,
            process_cpu=100.0 * (i % 8),
            process_memory=GB + i * 10**7,
            read_rate=1e9 * (i % 3),
            read_speed=2e9,
            disk_read_rate=1e6 * i,
            disk_write_rate=2e6,
            disk_scope="process",
            what=f"model.layers.{i}.mlp.up_proj.weight",
            **values,
        )
        for i in range(count)
    )
    return View(job(), samples, "running", 0, float(count - 1), None)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [1, 2, 60, 4000])
def test_a_frame_fills_the_screen_and_no_more(width, height, count):
    lines = frame(looking(count), width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert lines[-1].startswith(HINT)
    assert lines[0].startswith("mlx-probe analyze  m")
    assert "running" in lines[0]


@pytest.mark.parametrize(("width", "height"), SIZES[:2])
def test_what_a_frame_says(width, height):
    text = "\n".join(frame(looking(), width, height))
    for part in (
        "59%",
        "59 bytes of 100 bytes",
        "0:00:41 left",
        "model.layers.59.mlp.up_proj.weight",
        "300 % of 8 cores; machine 60 %",
        "1.6 GB in this process",
        "50.0 % of 10.0 GB in use",
        "0 bytes in use",
        "100.0 GB free",
        "2.0 GB/s of weights",
        "2.0 GB/s while reading, 20% of copy",
        "none; the rules: memory above 90% pause",
    ):
        assert part in text
    for label in ("cpu", "memory", "machine", "swap", "reading", "disk"):
        assert f"\n{label} " in text
    assert "device" not in text
    assert "gpu" not in text


@pytest.mark.parametrize(("done", "share"), [(0, 0), (50, 0.5), (100, 1), (130, 1)])
def test_the_bar_is_as_long_as_what_is_done(done, share):
    view = View(job(), (look(0, done=done),), "running", 0, 0.0, None)
    bar = frame(view)[1]
    assert bar.count("━") == round(share * (bar.count("━") + bar.count("─")))
    assert f"{share:4.0%}" in bar
    # Of what has no known end nothing is drawn.
    unknown = View(job(), (look(0, done=done, total=0),), "running", 0, 0.0, None)
    assert "━" not in frame(unknown)[1]


def test_a_device_and_a_gpu_have_lines_where_there_are_any():
    view = looking(device_memory=GB, device_memory_peak=2 * GB, gpu_percent=42.0, gpu_power=30.0)
    text = "\n".join(frame(view, 200, 50))
    for part in ("1.0 GB in use", "2.0 GB at most", "42 % busy", "30.0 W"):
        assert part in text
    assert len(frame(view)) == 24


def test_alerts_have_their_time_and_what_is_over_its_length():
    view = looking()
    samples = list(view.samples)
    for i in (10, 11, 12):
        samples[i] = replace(samples[i], alerts=(f"disk below 5GB warn: {i} GB",))
    for i in (58, 59):
        samples[i] = replace(samples[i], alerts=("memory above 90% pause: 95 %",), state="paused")
    view = replace(view, samples=tuple(samples), state="paused")
    for size in SIZES[:3]:
        lines = frame(view, *size)
        first, second = lines[lines.index("alerts".ljust(len("alerts"))) + 1 :][:2]
        assert first.endswith("disk below 5GB warn: 12 GB, for 3 s")
        assert second.endswith("memory above 90% pause: 95 %")
        assert first[2] == first[5] == ":"
        assert "paused" in lines[0]


def test_a_run_that_is_over_shows_means_and_maxima():
    lines = frame(replace(looking(), state="finished"), hint="")
    text = "\n".join(lines)
    assert "finished" in lines[0]
    assert "left" not in lines[1]
    assert "on average" in text
    assert "1.6 GB at most" in text
    assert len(lines) < 24


def test_a_job_without_samples_yet():
    lines = frame(View(job(), (), "running", 0, 0.0, None))
    assert "no sample yet" in "\n".join(lines)
    assert "no samples" in "\n".join(frame(View(None, (), "not finished", 0, 0.0, None)))


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "[bold]w[/]",
    "[/",
    "a\nb\r\nc",
    "x" * 4000,
    "\u202e\u200b",
    "\u5bbd" * 90,  # two columns each
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize(("width", "height"), SIZES[:2])
def test_hostile_names_change_no_other_line(name, width, height):
    view = looking()
    last = replace(view.samples[-1], what=name, alerts=(f"{name}: 3",))
    view = replace(view, job=job(title=name, rules=(name,)), samples=(*view.samples, last))
    lines = frame(view, width, height)
    assert len(lines) == height
    console = Console(width=width)
    assert all(console.render_str(line, markup=False).cell_len <= width for line in lines)
    text = "\n".join(lines)
    assert not set(text) & set("\x1b\x07\r\u202e\u200b")
    assert lines[-1].startswith(HINT)


NUMBERS = st.lists(st.none() | st.floats(0, 1e15), max_size=500)


@given(NUMBERS, st.integers(1, 80), st.integers(1, 400))
def test_buckets_are_means_that_fit_and_end_with_the_last_value(values, width, least):
    means = buckets(values, width, least)
    assert len(means) <= width
    assert (len(means) > 0) == (len(values) > 0)
    known = [value for value in values if value is not None]
    for mean in means:
        assert mean is None or min(known) * 0.999 <= mean <= max(known) * 1.001
    if len(values) <= width:
        assert means == values


@given(NUMBERS, st.integers(1, 60), st.integers(61, 300))
def test_one_more_value_changes_the_last_buckets_only(values, width, least):
    # As long as the window is full: until then the size of a bucket may change.
    values = [0.0] * least + values
    before, after = buckets(values, width, least), buckets([*values, 1.0], width, least)
    if len(values) % -(-least // width):
        assert after[:-1] == before[:-1]
    else:
        assert after[:-1] in (before, before[1:])
        assert after[-1] == 1.0


@settings(max_examples=50)
@given(NUMBERS.filter(len), st.integers(1, 6), st.none() | st.floats(1, 1e6))
def test_bars_have_their_size_and_grow_with_their_value(values, height, top):
    width = len(values) + 3
    lines = bars(values, width, height, top)
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}
    full = [sum(" ▁▂▃▄▅▆▇█".index(line[3 + i]) for line in lines) for i in range(len(values))]
    for value, eighths in zip(values, full, strict=True):
        assert (eighths > 0) == bool(value)
    order = sorted(range(len(values)), key=lambda i: values[i] or 0.0)
    assert [full[i] for i in order] == sorted(full)
