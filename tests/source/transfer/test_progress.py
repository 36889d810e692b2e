"""What a download shows of itself."""

import io

import pytest
from rich.console import Console

from mlx_probe.source.transfer import progress as module
from mlx_probe.source.transfer.batch import FileRequest
from mlx_probe.source.transfer.destination import FolderDestination
from mlx_probe.source.transfer.digest import PublishedFile
from mlx_probe.source.transfer.progress import watching

FILES = [PublishedFile("sub/[red]odd[/].gguf", 1_000_000), PublishedFile("x" * 60 + ".bin", 500)]


@pytest.fixture
def shown(monkeypatch):
    """What a console shows, which is a terminal or none."""

    def be(terminal, width=80):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=width, highlight=False)
        monkeypatch.setattr(module, "Console", lambda **options: console)
        return text

    return be


def run(tmp_path, **options):
    requests = [FileRequest(file, (), str(number)) for number, file in enumerate(FILES)]
    with watching(**options) as progress:
        progress.begin(requests, FolderDestination(tmp_path))
        for file in FILES:
            for part in (1, 2):
                progress.traffic.on_position(file.name, file.size * part // 2)
                progress.traffic.on_bytes(file.size // 2)
            progress.finish(file)
        assert (progress.received, progress.done, progress.total) == (1_000_500,) * 3


def test_lines(shown, tmp_path):
    text = shown(False)
    run(tmp_path, quiet=False, lines=True)
    assert text.getvalue().splitlines() == [
        "2 file(s), 1.0 MB",
        "sub/[red]odd[/].gguf: 1.0 MB, verified",
        f"{FILES[1].name}: 500 bytes, verified",
    ]


def test_a_line_now_and_then(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    text = shown(False)
    run(tmp_path, quiet=False, lines=True)
    assert " 50%, 500.0 kB, " in text.getvalue()
    assert "/s, 0 s left" in text.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_there_is_checked_first(shown, tmp_path, monkeypatch, terminal):
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    text = shown(terminal)
    with watching(quiet=False, lines=True) as progress:
        progress.check(3_000_000)
        progress.begin([FileRequest(FILES[0], (), "key")], FolderDestination(tmp_path))
        progress.traffic.on_position(FILES[0].name, 1)
    assert "checking what is there" in text.getvalue()


def test_bars(shown, tmp_path):
    text = shown(True)
    run(tmp_path, quiet=False)
    told = text.getvalue()
    assert "all files" in told
    assert "sub/[red]odd[/].gguf" in told
    assert FILES[1].name not in told
    assert f"...{FILES[1].name[-29:]}" in told


@pytest.mark.parametrize("options", [{"quiet": True, "lines": True}, {"quiet": False}])
@pytest.mark.parametrize("terminal", [True, False])
def test_nothing(shown, tmp_path, options, terminal):
    text = shown(terminal)
    if terminal and not options["quiet"]:
        return
    run(tmp_path, **options)
    assert text.getvalue() == ""


def test_somebody_else_is_told_too(shown, tmp_path):
    shown(False)
    told = []
    run(tmp_path, quiet=True, on_bytes=told.append)
    assert sum(told) == 1_000_500
