"""What a download shows of itself."""

import io

import pytest
from rich.console import Console

from mlx_probe.report.terminal import download_progress as module
from mlx_probe.report.terminal.download_progress import download_progress

ODD, LONG = "sub/[red]odd[/].gguf", "x" * 60 + ".bin"
SIZES = {ODD: 1_000_000, LONG: 500}


@pytest.fixture
def shown(monkeypatch):
    """What a console shows, which is a terminal or none."""

    def be(terminal, width=80):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=width, highlight=False)
        monkeypatch.setattr(module, "Console", lambda **options: console)
        return text

    return be


def run(**options):
    progress = download_progress(**options)
    progress.begin(SIZES, {})
    for name, size in SIZES.items():
        for part in (1, 2):
            progress.move(name, size * part // 2)
            progress.count(size // 2)
        progress.finish(name, size)
    assert (progress.received, progress.done, progress.total) == (1_000_500,) * 3
    progress.close()


def test_lines(shown):
    text = shown(False)
    run(quiet=False, lines=True)
    assert text.getvalue().splitlines() == [
        "2 file(s), 1.0 MB",
        "sub/[red]odd[/].gguf: 1.0 MB, verified",
        f"{LONG}: 500 bytes, verified",
    ]


def test_a_line_now_and_then(shown, monkeypatch):
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    text = shown(False)
    run(quiet=False, lines=True)
    assert " 50%, 500.0 kB, " in text.getvalue()
    assert "/s, 0 s left" in text.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_there_is_checked_first(shown, monkeypatch, terminal):
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    text = shown(terminal)
    progress = download_progress(quiet=False, lines=True)
    progress.check(3_000_000)
    progress.begin({ODD: 1_000_000}, {})
    progress.move(ODD, 1)
    progress.close()
    assert "checking what is there" in text.getvalue()


def test_bars(shown):
    text = shown(True)
    run(quiet=False)
    told = text.getvalue()
    assert "all files" in told
    assert "sub/[red]odd[/].gguf" in told
    assert LONG not in told
    assert f"...{LONG[-29:]}" in told


@pytest.mark.parametrize("options", [{"quiet": True, "lines": True}, {"quiet": False}])
@pytest.mark.parametrize("terminal", [True, False])
def test_nothing(shown, options, terminal):
    text = shown(terminal)
    if terminal and not options["quiet"]:
        return
    run(**options)
    assert text.getvalue() == ""


def test_two_downloads_after_each_other(shown):
    text = shown(True)
    progress = download_progress(quiet=False)
    for name in ("first.gguf", "second.gguf"):
        progress.begin({name: 1000}, {name: 10})
        progress.move(name, 1000)
        progress.finish(name, 1000)
        progress.close()
    first, _, second = text.getvalue().partition("second.gguf")
    assert "first.gguf" in first
    assert "first.gguf" not in second
    assert progress.done == 1000
