"""The pages on accuracy name every area of the referees, with its number of cases."""

import re
from pathlib import Path

from project import ROOT

from referees.tally import area_of

ROW = re.compile(r"^\| `([\w/]+)` \| (\d+) \|", re.MULTILINE)


def test_the_documented_numbers_of_cases(collected):
    files = {area_of(f"{path.relative_to(ROOT)}::")[0] for path in Path(__file__).parent.rglob("*")}
    for language in ("en", "zh"):
        page = (ROOT / "docs" / language / "accuracy.md").read_text("utf-8")
        documented = {area: int(cases) for area, cases in ROW.findall(page)}
        assert documented.keys() <= files
        # Of a part of the files, only that part is compared.
        assert {area: documented.get(area) for area in collected} == dict(collected)
