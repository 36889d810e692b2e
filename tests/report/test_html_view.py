"""The page's state in its address, and its use at every width, in a real browser."""

from pathlib import Path

import axe_core_python
import browser
import pytest
from html_pages import HOSTILE_NAME
from repetitions import LONG

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH"),
]

# The narrowest and the widest; those between with `--long`.
WIDTHS = (
    390,
    pytest.param(1000, marks=LONG),
    pytest.param(1440, marks=LONG),
    2560,
)
AXE = Path(axe_core_python.__path__[0]) / "axe.min.js"
# Everything that a reader sees of his choices, and what is drawn from them.
VIEW = """(() => ({
    theme: document.documentElement.dataset.theme ?? "",
    choices: [...document.querySelectorAll("select, input")]
        .map((one) => (one.type === "checkbox" ? one.checked : one.value)),
    pressed: [...document.querySelectorAll("[aria-pressed=true]")].map((one) => one.textContent),
    sorted: [...document.querySelectorAll("[aria-sort]")]
        .map((one) => one.querySelector("button").textContent),
    drawn: [...document.querySelectorAll(".plot")].map((plot) => JSON.stringify(
        (plot.data ?? []).map(({ type, name, x, y, z, text }) => [type, name, x, y, z, text]))),
    rows: [...document.querySelectorAll("tbody")].map((body) => body.textContent),
    facts: document.getElementById("tensor-facts").textContent,
}))()"""
NOTE = "document.getElementById('address-note').textContent"


def choose(opened, selector, value):
    opened.value(
        f"(() => {{ const one = document.querySelector({selector!r}); one.value = {value!r};"
        "one.dispatchEvent(new Event('change')); })()"
    )


def write(opened, selector, text):
    opened.value(
        f"(() => {{ const one = document.querySelector({selector!r}); one.value = {text!r};"
        "one.dispatchEvent(new Event('input')); })()"
    )


def address_of(opened):
    return opened.value("location.hash")


@pytest.fixture(scope="module")
def made(chromium, page):
    """An address with a choice of every kind, and what it showed."""
    chromium.open(page)
    plain = chromium.value(VIEW)
    choose(chromium, "#maps select", "alpha")
    choose(chromium, "#maps select[aria-label=View]", "deviation")
    chromium.click("#maps .controls input[type=checkbox]")
    write(chromium, "#tensor", "model.layers.0.self_attn.q_proj.weight")
    chromium.click("#siblings")
    chromium.click("#outlier-list .controls button:nth-child(2)")
    choose(chromium, "#heads select[aria-label=circuit]", "ov")
    chromium.click("#table summary")
    chromium.click("#table .choices input[data-column=rms]")
    chromium.value("document.querySelector('#table thead button[data-column=std]').click()")
    write(chromium, "#table th input[data-column=std]", "1e-3..5")
    write(chromium, "#table th input[data-column=param_name]", "proj")
    chromium.click("#theme")
    view = chromium.value(VIEW)
    assert [key for key in view if view[key] == plain[key]] == []
    return address_of(chromium), view, plain


@pytest.mark.parametrize("width", WIDTHS)
def test_the_address_restores_the_view(opened, page, made, width):
    address, view, _ = made
    opened.open(page, width=width, address=address)
    restored = opened.value(VIEW)
    if width < 700:
        # Long names are cut on a small screen, in the ticks alone.
        assert len(restored["drawn"]) == len(view["drawn"])
    for key in view:
        assert restored[key] == view[key], key
    assert opened.value(NOTE) == ""
    assert address_of(opened) == address


def test_back_and_forward(opened, page):
    opened.open(page)
    first = opened.value(VIEW)
    choose(opened, "#maps select", "std")
    second = opened.value(VIEW)
    # Letters soon after each other are one step, on a busy machine too: its clock stands still.
    opened.value(
        "(() => { const one = document.querySelector('#table th input[data-column=param_name]');"
        "const now = performance.now(); performance.now = () => now;"
        "for (const text of ['q', 'q_', 'q_proj']) {"
        "one.value = text; one.dispatchEvent(new Event('input')); }"
        "delete performance.now; })()"
    )
    third = opened.value(VIEW)
    assert first["drawn"] != second["drawn"]
    assert second["rows"] != third["rows"]
    for step, view in (("back", second), ("back", first), ("forward", second), ("forward", third)):
        before = address_of(opened)
        # Later: a page that moves on at once answers no question.
        opened.value(f"setTimeout(() => history.{step}(), 0)")
        opened.wait(f"location.hash !== {before!r}")
        assert opened.value(VIEW) == view


def test_a_link_of_the_menu_keeps_the_view(opened, page):
    opened.open(page, address="#maps.metric=std")
    view = opened.value(VIEW)
    opened.click("nav a[href='#table']")
    assert "maps.metric=std" in address_of(opened)
    assert "at=table" in address_of(opened)
    assert opened.value(VIEW) == view
    # So does a link to a tensor, as the findings have them.
    name = "model.layers.0.self_attn.q_proj.weight"
    opened.value(
        "(() => { const link = document.createElement('a');"
        f"link.href = '#at=spectra&tensor={name}'; link.id = 'link';"
        "document.querySelector('#model').append(link); link.click(); })()"
    )
    assert opened.value("document.getElementById('tensor').value") == name
    assert "maps.metric=std" in address_of(opened)
    assert "at=spectra" in address_of(opened)
    opened.open(page, address="#run")
    assert opened.value(NOTE) == ""
    assert opened.value("scrollY") > 500


HOSTILE = (
    f"#maps.metric={HOSTILE_NAME}&table.columns={HOSTILE_NAME}&tensor={HOSTILE_NAME}x",
    "#__proto__.polluted=1&constructor.prototype=2&maps.__proto__=3",
    "#theme=dark%22onload%3D&table.page=1e99&table.sort=constructor&outliers.run=B",
    "#table.filter.no_such=1&table.columns=%E0%A4%A&maps.log=1",
    "#" + "x" * 40000,
)


def test_a_hostile_address_is_ignored_with_a_note(opened, page, made):
    opened.open(page, address=HOSTILE[0])
    for address in HOSTILE:
        # Typed into an open page it does the same.
        opened.value(f"location.hash = {address!r}")
        opened.wait(f"{NOTE}.includes('ignored')")
        assert opened.value(VIEW) == made[2], address
        assert len(opened.value(NOTE)) < 500
        assert opened.value("document.images.length") == 0
        assert opened.value("document.scripts.length") == 3
        assert opened.value("({}).polluted === undefined")
        opened.value("location.hash = '#maps'")
        opened.wait(f"{NOTE} === ''")


def test_what_is_known_of_an_address_is_used(opened, page):
    opened.open(page, address="#maps.metric=std&maps.view=sideways&table.columns=std,nonsense")
    assert opened.value("document.querySelector('#maps select').value") == "std"
    assert opened.value("document.querySelectorAll('#table thead th').length") == 1
    note = opened.value(NOTE)
    assert "maps.view=sideways" in note
    assert "nonsense" in note
    assert "maps.metric" not in note


@pytest.mark.parametrize("width", WIDTHS)
def test_every_width_in_both_themes(opened, page, width):
    """Nothing hangs over, controls can be hit, and axe-core finds nothing serious."""
    opened.open(page)
    opened.value(f"{AXE.read_text('utf-8')};0")
    opened.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    opened.resize(width, 1000)
    for dark in (False, True):
        opened.shade(dark)
        opened.value("new Promise((done) => setTimeout(done, 150))")
        assert opened.value("document.documentElement.scrollWidth") <= width
        assert opened.value(SMALL) == []
        # Of all that axe-core looks at, only colours differ between themes.
        rules = ", runOnly: ['color-contrast']" if dark else ""
        found = opened.value(
            f"axe.run(document, {{ resultTypes: ['violations']{rules} }}).then((result) =>"
            "result.violations.map((one) => [one.impact, one.id, one.nodes[0].html]))"
        )
        assert [one for one in found if one[0] in ("serious", "critical")] == [], dark


# Controls below 24 px; the label around a box is part of it.
SMALL = """[...document.querySelectorAll("button, select, input, summary, nav a")]
    .map((one) => one.closest("label:not(:has(select))") ?? one)
    .filter((one) => !one.closest(".modebar"))
    .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
    .filter(([, { width, height }]) => width > 0 && (width < 24 || height < 24))
    .map(([text, { width, height }]) => [text, width, height])"""


def test_a_column_is_explained(opened, page):
    tip = (
        "(document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent)"
    )
    opened.open(page)
    # By keyboard.
    opened.value("document.querySelector('#table thead th:nth-child(5) input').focus()")
    opened.press("Tab")
    column = opened.value("document.activeElement.dataset.column")
    assert column in opened.value(tip)
    assert opened.value("document.activeElement.getAttribute('aria-describedby')") == "tip"
    opened.press("Escape")
    assert opened.value(tip) == ""
    # By mouse.
    x, y = opened.value(
        "(() => { const one = document.querySelector('#table thead button[data-column=std]');"
        "one.scrollIntoView({ block: 'center' }); const r = one.getBoundingClientRect();"
        "return [r.left + 5, r.top + 5]; })()"
    )
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    opened.wait(f"{tip}.includes('std')")
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    opened.wait(f"{tip} === ''")
    # By finger.
    x, y = opened.value(
        "(() => { const one = document.querySelector('#tensor-facts .term');"
        "one.scrollIntoView({ block: 'center' }); const r = one.getBoundingClientRect();"
        "return [r.left + 5, r.top + 5]; })()"
    )
    opened.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    opened.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    opened.wait(f"{tip} !== ''")
