"""The summary of the referees: cases and failures by area, as text and as JSON."""

from collections import Counter
from pathlib import Path

import pytest

from referees.tally import HEADER, area_of, tally, write_json

HERE = Path(__file__).parent
COLLECTED = pytest.StashKey[Counter]()


def pytest_addoption(parser):
    parser.addoption("--referees-json", metavar="FILE", help="the summary of tests/referees, too")


@pytest.fixture(scope="session")
def collected(pytestconfig):
    """Number of cases by area, of all files of tests that were collected."""
    if any("::" in argument for argument in pytestconfig.args):
        pytest.skip("single tests were asked for")
    return pytestconfig.stash[COLLECTED]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Warnings of the original packages are not ours; those of our own modules stay errors."""
    areas = [area_of(item.nodeid) for item in items]
    config.stash[COLLECTED] = Counter(name for name, is_case in areas if is_case)
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
