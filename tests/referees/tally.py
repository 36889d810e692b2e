"""How many cases of each area gave the right numbers, a reason, a failure, or were not run."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = "tests/referees/"
# A case that expects no numbers says so: record_property(OUTCOME, REASON).
OUTCOME, REASON = "outcome", "reason"
HEADER = "cases  right  reason  failed  not run"


@dataclass
class Area:
    """Counts of the cases of one file of tests.

    Attributes:
        right: Numbers equal the original package's.
        reason: The row says why it has no numbers, as the case expects.
        failed: Other numbers, or none without the expected reason.
        not_run: The original package is not installed.
    """

    right: int = 0
    reason: int = 0
    failed: int = 0
    not_run: int = 0

    @property
    def cases(self):
        return self.right + self.reason + self.failed + self.not_run

    def line(self):
        counts = (self.cases, self.right, self.reason, self.failed, self.not_run)
        widths = (5, 5, 6, 6, 7)
        return "  ".join(f"{n:{w}}" for n, w in zip(counts, widths, strict=True))

    def add(self, other):
        self.right += other.right
        self.reason += other.reason
        self.failed += other.failed
        self.not_run += other.not_run


def area_of(nodeid: str) -> tuple[str, bool]:
    """The area of a test, and whether it is a case; an area of "" is not of the referees.

    An area is a file of tests without "test_". A case is a parametrized test.
    """
    path, _, test = nodeid.partition("::")
    if not path.startswith(FOLDER):
        return "", False
    return path.removeprefix(FOLDER).removesuffix(".py").replace("test_", ""), "[" in test


def tally(reports: Iterable) -> dict[str, Area]:
    """Count pytest's reports by area, with the sum of all under "all".

    Tests that are no cases are counted only if they fail.
    """
    areas: dict[str, Area] = {}
    for report in reports:
        name, is_case = area_of(getattr(report, "nodeid", ""))
        if not name or not hasattr(report, "when"):
            continue
        # Set-up and tear-down count only if something happens there.
        if report.when != "call" and report.outcome == "passed":
            continue
        if not is_case and report.outcome != "failed":
            continue
        area = areas.setdefault(name, Area())
        if report.outcome == "failed":
            area.failed += 1
        elif report.outcome == "skipped":
            area.not_run += 1
        elif (OUTCOME, REASON) in map(tuple, report.user_properties):
            area.reason += 1
        else:
            area.right += 1
    total = Area()
    for area in areas.values():
        total.add(area)
    return dict(sorted(areas.items())) | ({"all": total} if areas else {})


def write_json(path: Path, areas: dict[str, Area]) -> None:
    """The same counts for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {name: {"cases": area.cases, **asdict(area)} for name, area in areas.items()}
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
