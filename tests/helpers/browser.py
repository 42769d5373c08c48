"""Headless Chromium for tests, driven through chromedriver's HTTP interface (W3C WebDriver)."""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.request

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage "
    "--hide-scrollbars"
)


class Browser:
    def __init__(self, port, profile):
        self._base = f"http://127.0.0.1:{port}"
        options = {
            "binary": CHROMIUM,
            "args": [*FLAGS.split(), f"--user-data-dir={profile}"],
        }
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        asked = {"capabilities": {"alwaysMatch": capabilities}}
        self._base += "/session/" + self._call("/session", asked)["sessionId"]

    def _call(self, path, data, method="POST"):
        body = None if method == "DELETE" else json.dumps(data).encode()
        request = urllib.request.Request(self._base + path, body, method=method)
        # Not through a proxy: the driver is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def devtools(self, command, **parameters):
        return self._call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, page, *, width=1280, height=800, dark=False):
        """Show a file's path or a URL, as a screen of that many CSS pixels would."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self._call("/url", {"url": url})

    def run(self, script):
        """The value of a script's `return`, awaited if it is a promise."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def console(self):
        """Messages since the last call, errors and warnings of the browser among them."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def requests(self):
        """URLs asked for since the last call."""
        entries = self._call("/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self, path):
        """The whole page."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def quit(self):
        self._call("", None, "DELETE")


@contextlib.contextmanager
def chromium(profile):
    """A browser with a profile folder of its own."""
    process = subprocess.Popen(
        [DRIVER, "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "HOME": str(profile)},
    )
    try:
        for line in process.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                break
        else:
            raise OSError("chromedriver did not start")
        browser = Browser(found[1], profile)
        try:
            yield browser
        finally:
            browser.quit()
    finally:
        process.terminate()
        process.wait(10)
