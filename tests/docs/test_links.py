"""No link of the documentation leads nowhere, and every page is two clicks from README."""

import pytest
from pages import NAMES, README, page, target
from project import ROOT

KNOWN = {ROOT / name: name for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name):
    dead = []
    for link in page(name).links:
        path, anchor = target(name, link)
        there = path.exists() and path.is_relative_to(ROOT)
        if not there or (anchor and anchor not in page(KNOWN[path]).anchors):
            dead.append(link)
    assert not dead


def test_every_page_is_two_clicks_from_readme():
    reached = {README}
    for _ in range(2):
        links = [target(name, link)[0] for name in reached for link in page(name).links]
        reached |= {KNOWN[path] for path in links if path in KNOWN}
    assert reached == set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != README])
def test_a_page_has_one_title_and_names_its_neighbours(name):
    lines = page(name).text.splitlines()
    fenced = False
    titles = []
    for line in lines:
        fenced ^= line.startswith("```")
        if line.startswith("# ") and not fenced:
            titles.append(line)
    assert len(titles) == 1
    *_, last = page(name).text.split("\n## ")
    assert 2 <= last.count("](") <= 4
