"""The page of training runs in a real browser, where there is one."""

import json
from pathlib import Path

import axe_core_python
import numpy as np
import pytest
from training_runs import LOST, SNAPSHOTS, STEPS, metric_lines

import mlx_probe

AXE = Path(axe_core_python.__path__[0]) / "axe.min.js"
MAP = "document.querySelector('#maps .plot')"
SPECTRUM = "document.getElementById('spectrum')"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(training_page):
    return training_page


@pytest.fixture(scope="module")
def pages(training_pages):
    return training_pages


def choose(opened, selector, value):
    opened.value(
        f"(() => {{ const s = document.querySelector({json.dumps(selector)}); s.value = "
        f"{json.dumps(value)}; s.dispatchEvent(new Event('change')); }})()"
    )


def test_all_curves_are_drawn(opened):
    for key in ("loss", "bpb", "learning_rate", "grad_norm", "throughput"):
        plot = f"document.querySelector('#curve-{key}')"
        assert opened.value(f"{plot}.querySelector('svg').clientHeight") > 100
        drawn = opened.value(
            f"{plot}.data.map((trace) => trace.y.filter((v) => v !== null).length)"
        )
        assert STEPS in drawn
    for over in ("tokens", "seconds", "step"):
        choose(opened, "#curves select", over)
        last = opened.value("[...document.querySelector('#curve-loss').data[0].x].at(-1)")
        line = metric_lines()[-1]
        assert last == pytest.approx(line[over], rel=1e-6)
    assert opened.value("document.images.length") == 0
    assert opened.value("document.scripts.length") == 3


def test_maps_of_every_view_and_a_click(opened, trained):
    frame = mlx_probe.load_training_run(trained).over_time
    choose(opened, "#maps select[aria-label='Kind of tensor']", "up_proj")
    drawn = opened.value(f"{MAP}.data[0].z")
    rows = frame[frame["block_type"] == "up_proj"].pivot(
        index="layer_index", columns="step", values="stable_rank"
    )
    assert np.array(drawn) == pytest.approx(rows.to_numpy(float), rel=1e-6)
    choose(opened, "#maps select[aria-label='View']", "change")
    change = rows.to_numpy(float) - rows.to_numpy(float)[:, :1]
    assert np.array(opened.value(f"{MAP}.data[0].z")) == pytest.approx(change, abs=1e-5)
    choose(opened, "#maps select[aria-label='View']", "lines")
    assert len(opened.value(f"{MAP}.data.map((trace) => [...trace.y])")) == 3
    choose(opened, "#maps select[aria-label='Kind of tensor']", "")
    assert len(opened.value(f"{MAP}.data.map((trace) => [...trace.y])")) > 5
    opened.value(
        f"{MAP}.emit('plotly_click', {{points: [{{customdata: {int(frame.index[-9])}}}]}})"
    )
    name = frame["param_name"].iloc[-9]
    opened.wait(f"document.getElementById('tensor').value === {name!r}")


def test_a_kind_without_the_metric_is_no_choice(opened, page):
    """Norms come first in a table of names in order, and have no stable rank."""
    opened.open(page)
    kinds = "[...document.querySelector(\"#maps select[aria-label='Kind of tensor']\").options]"
    assert "norm" not in opened.value(f"{kinds}.map((one) => one.value)")
    choose(opened, "#maps select[aria-label=Metric]", "std")
    assert "norm" in opened.value(f"{kinds}.map((one) => one.value)")
    choose(opened, "#maps select[aria-label='Kind of tensor']", "norm")
    choose(opened, "#maps select[aria-label=Metric]", "stable_rank")
    assert opened.value(f"{MAP}.data[0].z.flat().some((value) => value !== null)")


def test_every_metric_can_be_drawn(opened):
    names = opened.value(
        "[...document.querySelector('#maps select[aria-label=Metric]').options].map((o) => o.value)"
    )
    assert {"stable_rank", "alpha", "spectral_change"} <= set(names)
    choose(opened, "#maps select[aria-label='View']", "map")
    for name in names[::4]:
        choose(opened, "#maps select[aria-label=Metric]", name)
        known = f"{MAP}.data[0].z.flat().some((value) => value !== null)"
        assert opened.value(known), name


def test_the_slider_leads_through_the_snapshots(opened, trained):
    run = mlx_probe.load_training_run(trained)
    opened.value(
        f"(() => {{ const i = document.getElementById('tensor'); i.value = {LOST!r};"
        "i.dispatchEvent(new Event('input')); })()"
    )
    ranges = []
    for at, step in enumerate(SNAPSHOTS):
        opened.value(
            f"(() => {{ const s = document.getElementById('step'); s.value = {at};"
            "s.dispatchEvent(new Event('input')); })()"
        )
        drawn = opened.value(f"[...{SPECTRUM}.data.at(-1).y]")
        kept = run.spectra(step).set_index("param_name")["singular_values"][LOST]
        assert drawn == pytest.approx(list(kept), rel=1e-6, abs=1e-12)
        assert opened.value("document.getElementById('step-shown').textContent") == f"step {step}"
        ranges.append(opened.value(f"{SPECTRUM}.layout.yaxis.range"))
    # The axis stays where it is, so that what moves is the spectrum.
    assert all(one == ranges[0] for one in ranges)
    opened.click("#every")
    assert opened.value(f"{SPECTRUM}.data.length") >= len(SNAPSHOTS) + 1
    opened.click("#every")


def test_the_address_brings_the_view_back(opened, page):
    address = (
        f"#curves.over=tokens&curves.logy=yes&tensor={LOST}&tensor.step=60&tensor.every=yes"
        "&maps.metric=alpha&maps.kind=every&maps.view=lines"
    )
    opened.open(page, address=address)
    assert opened.value("document.getElementById('address-note').textContent") == ""
    assert opened.value("document.getElementById('tensor').value") == LOST
    assert opened.value("document.getElementById('step-shown').textContent") == "step 60"
    assert opened.value("document.querySelector('#curves select').value") == "tokens"
    opened.value("document.getElementById('next').click()")
    assert "tensor.step=60" in opened.value("location.hash")
    opened.open(page, address="#tensor=nothing&maps.kind=nix&tensor.step=61")
    note = opened.value("document.getElementById('address-note').textContent")
    assert all(text in note for text in ("tensor=nothing", "maps.kind=nix", "tensor.step=61"))
    # A link of a sentence leads to its matrix.
    opened.value(f"[...document.links].find((a) => a.hash.includes({LOST!r})).click()")
    assert opened.value("document.getElementById('tensor').value") == LOST


@pytest.mark.parametrize("which", ["page", "pages"])
def test_nothing_hangs_over_and_nothing_is_barred(opened, which, request):
    opened.open(request.getfixturevalue(which))
    # What other pages have as well is looked at in theirs.
    opened.value("document.querySelectorAll('div.grid').forEach((one) => one.remove())")
    opened.value(f"{AXE.read_text('utf-8')};0")
    opened.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for width, dark in ((390, False), (1440, True)):
        opened.resize(width, 1000)
        opened.shade(dark)
        opened.value("new Promise((done) => setTimeout(done, 150))")
        assert opened.value("document.documentElement.scrollWidth") <= width
        rules = ", runOnly: ['color-contrast']" if dark else ""
        found = opened.value(
            f"axe.run(document, {{ resultTypes: ['violations']{rules} }}).then((result) =>"
            "result.violations.map((one) => [one.impact, one.id, one.nodes[0].html]))"
        )
        assert [one for one in found if one[0] in ("serious", "critical")] == [], (width, dark)


def test_two_runs_share_the_plots(opened, pages):
    opened.open(pages)
    assert opened.value("document.querySelector('#curve-loss').data.length") == 4
    choose(opened, "#spectrum-run", "1")
    assert "tensor.run=B" in opened.value("location.hash")
    assert opened.value(f"{SPECTRUM}.data.length") > 0
    choose(opened, "#maps select[aria-label=Run]", "1")
    assert opened.value(f"{MAP}.data[0].z.length") == 3
