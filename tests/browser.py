"""Chromium without a window, driven over its debugging pipe: no package, no port, no network."""

import base64
import json
import os
import shutil
import subprocess
import time

PATH = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# A crash of the browser must not hang the tests.
TIMEOUT = 30.0
_MESSAGES = (
    *("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"),
    "Page.javascriptDialogOpening",
)
# A page that scrolls by itself moves away under the mouse.
_STILL = {"name": "prefers-reduced-motion", "value": "reduce"}
_KEYS = {"ArrowDown": 40, "ArrowLeft": 37, "Enter": 13, "Escape": 27, "Tab": 9}


class RefusedError(Exception):
    """The browser refused a call."""


class Browser:
    """One page.

    `messages` has what its console, its dialogs and the log say, `requests` what it loads.
    """

    def __init__(self, profile):
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()

        def pipes():
            # Chromium reads from 3 and writes to 4; the pipes may have those numbers already.
            low, high = os.dup(to_read), os.dup(to_write)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self._process = subprocess.Popen(
            [
                *(PATH, "--headless=new", "--remote-debugging-pipe", "--no-sandbox"),
                *("--disable-gpu", "--no-first-run", "--disable-background-networking"),
                *("--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={profile}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=pipes,
            close_fds=False,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number = b"", 0
        self.messages, self.requests = [], []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        try:
            self._call("Browser.close")
            self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._out)
            os.close(self._in)

    def call(self, method, **params):
        return self._call(method, self._session, **params)

    def open(self, path, width=1400, height=1000, dark=False, address=""):
        """Loads a file and waits until its script says that it is ready.

        `address` is what stands behind # in the file's address.
        """
        self.resize(width, height)
        self.shade(dark)
        # Another address of the same page would not load it again.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.absolute().as_uri() + address)
        self.wait("document.documentElement?.dataset.ready === 'yes'")
        # As in a new tab: once 50 pages are kept, a step back loads its page again.
        self.call("Page.resetNavigationHistory")

    def shade(self, dark):
        """Whether the system asks for dark pages."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, _STILL])

    def downloads(self, folder):
        """Where files go that the page saves."""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def resize(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def wait(self, condition):
        deadline = time.monotonic() + TIMEOUT
        while not self._holds(condition):
            assert time.monotonic() < deadline, f"{condition} never came true: {self.messages}"
            time.sleep(0.05)

    def _holds(self, condition):
        try:
            return self.value(condition) is True
        except RefusedError:
            # The page that was asked has just given way to the next one.
            return False

    def value(self, expression):
        """What a JavaScript expression gives, as Python values."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, selector):
        """A press of the mouse in the middle of an element."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        self.click_at(x, y)

    def click_at(self, x, y):
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        # Plotly looks for what is under the mouse now and then, not at each move.
        time.sleep(0.2)
        self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)
        time.sleep(0.2)

    def press(self, key):
        """A key of the keyboard, into what has the focus."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=_KEYS[key],
            )

    def type(self, text):
        self.call("Input.insertText", text=text)

    def screenshot(self, path):
        """The whole page, however long, in a window of that height.

        Chromium's own way of looking beyond the window makes it narrow for a moment, which
        plots follow.
        """
        height = self.value("Math.ceil(document.documentElement.scrollHeight)")
        self.resize(self.value("innerWidth"), height)
        # Plots follow a new size a little later.
        time.sleep(0.4)
        shot = self.call("Page.captureScreenshot")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _call(self, method, session=None, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RefusedError(answer["error"])
                return answer["result"]
            event = answer.get("method")
            if event in _MESSAGES:
                self.messages.append(answer["params"])
            if event == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])

    def _read(self):
        while b"\0" not in self._buffer:
            block = os.read(self._in, 1 << 16)
            assert block, "the browser is gone"
            self._buffer += block
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)
