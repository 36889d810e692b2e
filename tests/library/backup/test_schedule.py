"""Entries of launchd and cron, and their installation by programs of the system."""

import plistlib
import shlex
import subprocess
from pathlib import Path

import pytest

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.backup import SCHEDULERS, Schedule, parse_time

ODD = "/disk/100 % & 'more' <x>"
OTHERS = "# mine\n5 4 * * * true 50\\%\n"


@pytest.fixture
def schedule(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("RESTIC_PASSWORD", "secret")
    (tmp_path / "bin").mkdir()
    arguments = ("data", "--repo", ODD, "--quiet")
    return Schedule(Path(ODD), arguments, 2, 30, tmp_path, tmp_path / "logs" / "log")


def program(folder, name, text):
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def fake_crontab(folder):
    program(
        folder,
        "crontab",
        f'tab={folder}/tab\nif [ "$1" = -l ]; then\n'
        '  if [ -e $tab ]; then cat $tab; else echo "no crontab for you" >&2; exit 1; fi\n'
        "else cat >$tab.new && mv $tab.new $tab; fi\n",
    )
    return folder / "tab"


def test_the_property_list_is_one(schedule, tmp_path):
    entry = plistlib.loads(SCHEDULERS["launchd"].entry(schedule).encode())
    assert entry["ProgramArguments"][1:] == ["backup", "create", "data", "--repo", ODD, "--quiet"]
    assert entry["StartCalendarInterval"] == {"Hour": 2, "Minute": 30}
    assert entry["WorkingDirectory"] == str(tmp_path)
    assert "secret" not in str(entry)


def test_the_line_of_cron_starts_the_command(schedule, tmp_path):
    mark, line = SCHEDULERS["cron"].entry(schedule).splitlines()
    assert mark == f"# {schedule.label}"
    times, command = line.split(" * * * ", 1)
    assert times == "30 2"
    assert "secret" not in line
    # cron takes \% for %.
    words = shlex.split(command.replace("\\%", "%"))
    assert words[:3] == ["cd", str(tmp_path), "&&"]
    assert words[words.index("backup") :][:6] == [
        "backup",
        "create",
        "data",
        "--repo",
        ODD,
        "--quiet",
    ]


def test_cron_keeps_what_others_have(schedule, tmp_path):
    cron, tab = SCHEDULERS["cron"], fake_crontab(tmp_path)
    assert cron.uninstall(schedule) is False
    tab.write_text(OTHERS)
    for _ in range(2):
        cron.install(schedule)
        assert tab.read_text() == OTHERS + cron.entry(schedule)
    assert cron.uninstall(schedule) is True
    assert tab.read_text() == OTHERS


def test_a_crontab_that_cannot_be_read_is_not_emptied(schedule, tmp_path):
    program(
        tmp_path, "crontab", f"echo denied >&2; [ $1 = -l ] || touch {tmp_path}/written; exit 1"
    )
    with pytest.raises(ResultError, match="denied"):
        SCHEDULERS["cron"].install(schedule)
    assert not (tmp_path / "written").exists()


def test_launchd_loads_the_file(schedule, tmp_path):
    launchd = SCHEDULERS["launchd"]
    program(tmp_path, "launchctl", f'echo "$@" >>{tmp_path}/calls')
    path = Path(launchd.install(schedule))
    assert path.parent == tmp_path / "Library" / "LaunchAgents"
    assert path.read_text() == launchd.entry(schedule)
    assert f"bootstrap gui/0 {path}".split(" ")[0] in (tmp_path / "calls").read_text()
    assert launchd.uninstall(schedule) is True
    assert not path.exists()
    assert launchd.uninstall(schedule) is False


def test_a_program_that_is_not_there(schedule):
    with pytest.raises(ResultError, match="cannot start launchctl"):
        SCHEDULERS["launchd"].install(schedule)


@pytest.mark.parametrize("text", ["24:00", "2", "02:60", "noon", ""])
def test_no_time_of_day(text):
    with pytest.raises(ConfigError, match="no time of day"):
        parse_time(text)


def test_the_shell_understands_the_line(schedule, tmp_path):
    line = SCHEDULERS["cron"].entry(schedule).splitlines()[1].split(" * * * ", 1)[1]
    done = subprocess.run(["sh", "-n", "-c", line.replace("\\%", "%")], check=False)
    assert done.returncode == 0
