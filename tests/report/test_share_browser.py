"""What guests see in a real browser: every page works under the policy that the server sends."""

import browser
import pytest
from guest_server import made_run, serving

from mlx_probe.library.share.guests import invite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    root = tmp_path_factory.mktemp("guests")
    token, _ = invite("ada", 3600, root / "data" / "share")
    with serving(root, made_run(root), trained, tokens=True, only=["ada"]) as server:
        server.token = token
        yield server


def go(chromium, address, condition):
    chromium.call("Page.navigate", url=address)
    chromium.wait(condition)


def test_a_guest_looks_at_everything(chromium, served, tmp_path):
    at = f"http://localhost:{served.port}"
    # A link in a page of elsewhere: the cookie of the first answer comes back with the next one.
    elsewhere = tmp_path / "mail.html"
    elsewhere.write_text(f'<a id="link" href="{at}/?token={served.token}">look</a>')
    chromium.resize(1200, 900)
    chromium.messages.clear()
    chromium.requests.clear()
    go(chromium, elsewhere.as_uri(), "document.querySelector('#link') !== null")
    chromium.click("#link")
    chromium.wait("document.querySelectorAll('tbody tr').length === 2")
    assert chromium.value("location.href") == f"{at}/"
    assert chromium.value("document.cookie") == ""
    # The refusal that makes a browser ask again is the one message of the console.
    refusals = [text for each in chromium.messages if (text := str(each))]
    assert all("401" in text for text in refusals)
    chromium.messages.clear()
    for report in ("/tiny/report.html", "/run/report.html"):
        go(chromium, at + report, "document.documentElement?.dataset.ready === 'yes'")
        assert chromium.value("document.querySelectorAll('svg').length") > 0
    go(chromium, f"{at}/tiny/files/notes.md", "document.querySelector('h1') !== null")
    assert "alert(1)" in chromium.value("document.querySelector('.prose').textContent")
    assert chromium.value("document.scripts.length") == 0
    go(chromium, f"{at}/tiny/", "document.querySelectorAll('tbody a').length === 4")
    chromium.screenshot(tmp_path / "page.png")
    chromium.user = None
    assert chromium.messages == []
    outside = ("data:", "blob:", "about:", "file:", at)
    assert [url for url in chromium.requests if not url.startswith(outside)] == []
    seen = [(each["status"], each["reason"]) for each in served.records() if each["method"]]
    assert seen[:3] == [(303, "token taken"), (401, "no token"), (200, "")]
    assert set(seen[3:]) == {(200, "")}
