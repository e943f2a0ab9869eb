"""A headless Chromium, told what to do over WebDriver: HTTP and JSON, so that Python's own library is enough."""

import base64
import json
import re
import subprocess
import time
import urllib.error
import urllib.request

# Longest wait for anything.
DEADLINE_SECONDS = 30
# How WebDriver marks an element in its JSON.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

# Every text that is there to be read and has less contrast to its ground than WCAG 2.1 AA wants of a small one.
FAINT = """
const light = (rgb) => { const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
const ground = (node) => { for (; node; node = node.parentElement) { const c = numbers(getComputedStyle(node).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
return [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() && !node.disabled
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
  .map((node) => { const a = light(numbers(getComputedStyle(node).color)), b = light(ground(node));
    return [node.textContent.trim().slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; })
  .filter(([, contrast]) => !(contrast >= 4.5));"""


def eventually(what, look, seconds=DEADLINE_SECONDS):
    """Looks again and again until `look` finds something, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def request(method, url, body=None, headers=None):
    """Status and JSON of an answer; `None` for what is no JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    try:
        answer = urllib.request.urlopen(
            urllib.request.Request(url, data, headers, method=method), timeout=DEADLINE_SECONDS
        )
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        status, text = answer.status, answer.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, None


class Browser:
    """One window of one Chromium, and the driver that leads it."""

    def __init__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.driver.stdout:
            if port := re.search(r"started successfully on port (\d+)", line):
                break
        else:
            raise AssertionError("chromedriver did not start")
        self.session = f"http://127.0.0.1:{port[1]}/session"
        # A sandbox needs rights that root in a container does not have; the only page seen is ours.
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self.call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self.session += "/" + made["sessionId"]

    def call(self, method, path, body=None):
        status, answer = request(method, self.session + path, body)
        if status != 200:
            raise AssertionError(f"{method} {path}: {answer and answer['value']['message']}")
        return answer["value"]

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value of a piece of JavaScript in the page."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, css):
        found = self.call("POST", "/element", {"using": "css selector", "value": css})
        return f"/element/{found[ELEMENT]}"

    def click(self, css):
        """As a person does: fails on what is hidden, disabled or covered."""
        self.call("POST", self.find(css) + "/click", {})

    def type(self, css, text):
        self.call("POST", self.find(css) + "/value", {"text": text})

    def clear(self, css):
        self.call("POST", self.find(css) + "/clear", {})

    def text(self, css):
        """What a person reads there."""
        return self.call("GET", self.find(css) + "/text")

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def faint_texts(self):
        """The visible texts that are hard to read, each with its contrast."""
        return self.run(FAINT)

    def look_like(self, width, height, scheme, mobile=False):
        self.devtools("Emulation.setDeviceMetricsOverride",
                      width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, file):
        # All of the page, not only what fits the window.
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        with open(file, "wb") as out:
            out.write(base64.b64decode(shot["data"]))

    def messages(self):
        """What the console has shown since the last call, violations of the policy among it."""
        return [line["message"] for line in self.call("POST", "/se/log", {"type": "browser"})]
