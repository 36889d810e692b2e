"""The summary of the referees: cases and failures by area, as text and as JSON."""

from pathlib import Path

import pytest

from referees.tally import HEADER, tally, write_json

HERE = Path(__file__).parent


def pytest_addoption(parser):
    parser.addoption("--referees-json", metavar="FILE", help="the summary of tests/referees, too")


def pytest_collection_modifyitems(items):
    """Warnings of the original packages are not ours; those of our own modules stay errors."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore", "error:::mlx_probe"))


def pytest_terminal_summary(terminalreporter, config):
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    areas = tally(reports)
    if not areas:
        return
    terminalreporter.write_sep("=", "referees")
    width = max(len(name) for name in areas)
    terminalreporter.write_line(f"{'area':{width}}  {HEADER}")
    for name, area in areas.items():
        terminalreporter.write_line(f"{name:{width}}  {area.line()}")
    if config.getoption("referees_json"):
        write_json(Path(config.getoption("referees_json")), areas)
