"""The cases of status-page.sh: BIN SCRATCH. Each opens with what it shows."""

import signal
import socket
import sys
import tempfile
import time

from browser import Browser, eventually
from programs import Scene, write

HOSTILE = "<img src=x onerror=alert(1)>\"'`"
MANY = 300
# What a person would see of each row, in the order of the screen.
ROWS = """return [...document.querySelectorAll('#pools tbody tr')].filter((row) => !row.hidden).map((row) =>
    [row.querySelector('[data-part=name]').textContent, row.querySelector('[data-part=state]').textContent])"""


def ok(text):
    print(f"ok   {text}", flush=True)


def button(part, name):
    return f'[aria-label="{part} {name}"]'


def config(backends, many=(), **rest):
    check = {"type": "tcp", "interval": "300ms", "timeout": "200ms", "fall": 2, "rise": 1}
    pools = [{"name": "web", "health_check": check, "backends": backends}]
    if many:
        pools.append({"name": "many", "health_check": {**check, "interval": "5s"}, "backends": list(many)})
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "pool": "web"}],
        "pools": pools,
        "admin": {"bind": "127.0.0.1:0", **rest},
    }


def backend_of(name, port, ip="127.0.0.1"):
    return {"name": name, "address": f"{ip}:{port}"}


class Case:
    """The page of an evener with three backends, one of which has a hostile name."""

    def __init__(self, scene, browser):
        self.scene, self.browser = scene, browser
        self.dummies = [scene.backend() for _ in range(3)]
        names = ["a", "b", HOSTILE]
        self.backends = [backend_of(name, port) for name, (_, port) in zip(names, self.dummies)]
        self.evener = scene.evener("evener", config(self.backends))
        browser.look_like(1280, 900, "light")
        browser.open(f"{self.evener.url}/")

    def rows(self):
        return self.browser.run(ROWS)

    def wait_for_rows(self, rows, seconds=30):
        eventually(f"rows {rows}, not {self.rows()}", lambda: self.rows() == rows, seconds)

    def all(self):
        self.lists_everything()
        self.knows_of_a_dead_backend()
        self.buttons_change_what_they_say()
        self.the_last_backend_is_asked_about()
        self.reload_is_shown_before_it_is_done()
        self.a_failed_reload_stands_out()
        self.a_connection_is_killed()
        self.silence_is_said()
        self.a_hidden_page_asks_nothing()
        self.is_readable_everywhere()
        self.nothing_was_complained_about()

    def lists_everything(self):
        """All backends are there, and a hostile name is text."""
        self.wait_for_rows([["a", "Up"], ["b", "Up"], [HOSTILE, "Up"]])
        assert self.browser.run("return document.querySelectorAll('main img').length") == 0
        assert self.browser.text("#config-file") == self.evener.file
        assert self.browser.text("#listeners bdi") == "in"
        ok("the page lists what is running, and a hostile name stays text")

    def knows_of_a_dead_backend(self):
        """A killed backend is down on the page within 3 s, on top, and told to a screen reader."""
        program, port = self.dummies[1]
        program.end()
        self.wait_for_rows([["b", "Down"], ["a", "Up"], [HOSTILE, "Up"]], 3)
        assert "b of pool web: Down" in self.browser.run("return document.getElementById('live').textContent")
        assert "1 down" in self.browser.run("return document.title")
        ok("a killed backend is down within 3 s, on top, and announced")
        self.dummies[1] = self.scene.backend(port)
        self.wait_for_rows([["a", "Up"], ["b", "Up"], [HOSTILE, "Up"]])
        ok("it is up again when it is back")

    def buttons_change_what_they_say(self):
        """Drain by mouse, Ready by keyboard, a weight by keyboard; a hostile name can be changed, too."""
        for name in ["a", HOSTILE]:
            css = button("Drain", name.replace('"', '\\"'))
            self.browser.click(css)
            eventually(f"{name} drains", lambda: self.evener.backend(name)["admin_state"] == "drain")
            eventually("it looks pressed", lambda: self.browser.run(
                "return document.querySelector(arguments[0]).ariaPressed", css) == "true")
        assert "config: ready" in self.browser.run("return document.querySelector('#pools tbody').textContent")
        # U+E007 is Enter.
        self.browser.type(button("Ready", "a"), "\ue007")
        eventually("a is ready", lambda: self.evener.backend("a")["admin_state"] == "ready")
        weight = button("Weight of", "a")
        self.browser.clear(weight)
        self.browser.type(weight, "7\ue007")
        eventually("a has weight 7", lambda: self.evener.backend("a")["weight"] == 7)
        eventually("Set is gone", lambda: self.browser.run(
            "return document.querySelector(arguments[0]).hidden", button("Set the weight of", "a")))
        # What evener refuses is said; the field allows what the browser can be talked into.
        self.browser.run("document.querySelector(arguments[0]).max = 99999", weight)
        self.browser.clear(weight)
        self.browser.type(weight, "9999\ue007")
        eventually("the refusal", lambda: "256" in self.browser.text("#failure-text"))
        self.browser.type(weight, "\ue00c")
        self.browser.click("#failure-dismiss")
        ok("drain, ready and weight do what they say, by mouse and by keyboard, and a refusal is shown")

    def the_last_backend_is_asked_about(self):
        """The last backend that takes sessions does not go by one click."""
        self.browser.click(button("Drain", "b"))
        eventually("b drains", lambda: self.evener.backend("b")["admin_state"] == "drain")
        eventually("one is left", lambda: "1 of 3" in self.browser.text("#pools"))
        self.browser.click(button("Maintain", "a"))
        eventually("a question", lambda: "last backend" in self.browser.text("#question-text"))
        self.browser.click("#question-no")
        assert self.evener.backend("a")["admin_state"] == "ready"
        self.browser.click(button("Ready", "b"))
        eventually("b is ready", lambda: self.evener.backend("b")["admin_state"] == "ready")
        ok("the last backend of a pool goes after a question only")

    def reload_is_shown_before_it_is_done(self):
        """A reload shows what it would change; 300 new backends appear in place."""
        ports = [port for _, port in self.dummies]
        many = [backend_of(f"node-{at}", ports[at % 3], f"127.0.{1 + at // 200}.{1 + at % 200}") for at in range(MANY)]
        write(self.evener.file, config(self.backends, many))
        self.browser.run("document.querySelector('#pools tr').mark = 'mine'")
        self.browser.click("#reload")
        eventually("a plan", lambda: self.browser.text("#plan-changes"))
        assert self.evener.api("status")["config"]["generation"] == 1
        self.browser.click("#plan-apply")
        eventually("generation 2", lambda: "generation 2" in self.browser.text("#config-when"))
        eventually("all of them", lambda: len(self.rows()) == 3 + MANY)
        mark = "return [...document.querySelectorAll('#pools tr')].some((row) => row.mark === 'mine')"
        assert self.browser.run(mark), "the rows were made anew"
        self.browser.type("#filter", "node-29 is:up")
        names = ["node-29", *(f"node-29{last}" for last in range(10))]
        eventually("the filter", lambda: [name for name, _ in self.rows()] == names)
        self.browser.clear("#filter")
        ok(f"a reload shows its plan, then does it; {MANY} more backends are there, and the filter finds some")

    def a_failed_reload_stands_out(self):
        """The error of the last reload is shown until one succeeds."""
        good = open(self.evener.file).read()
        write(self.evener.file, good.replace("round_robin", "x") + "\nnonsense: 1")
        self.evener.process.send_signal(signal.SIGHUP)
        eventually("the error", lambda: "evener.yaml" in self.browser.text("#reload-failed-error"))
        self.browser.click("#reload")
        eventually("the same in a plan", lambda: "would fail" in self.browser.text("#plan-title"))
        self.browser.click("#plan-cancel")
        write(self.evener.file, good)
        self.evener.process.send_signal(signal.SIGHUP)
        eventually("no error", lambda: not self.browser.text("#reload-failed-error"))
        ok("a failed reload stands out until one succeeds")

    def a_connection_is_killed(self):
        """The list shows a live connection; Kill asks, then resets it."""
        with socket.create_connection(("127.0.0.1", self.evener.port)) as client:
            client.settimeout(30)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100)
            here = "%s:%d" % client.getsockname()
            self.browser.click("#connections-section summary")
            eventually("the connection", lambda: here in self.browser.text("#connections"))
            self.browser.click("#connections [data-part=kill]")
            self.browser.click("#question-yes")
            try:
                while client.recv(1000):
                    pass
                raise AssertionError("the end was not a reset")
            except ConnectionResetError:
                pass
        eventually("it is gone", lambda: here not in self.browser.text("#connections"))
        self.browser.click("#connections-section summary")
        ok("a live connection is listed, and killed by a reset after a question")

    def silence_is_said(self):
        """An evener that does not answer is said to be silent; nothing old looks new. It recovers by itself."""
        self.evener.process.send_signal(signal.SIGSTOP)
        try:
            eventually("silence", lambda: self.browser.text("#lost-since").startswith("No answer since"))
        finally:
            self.evener.process.send_signal(signal.SIGCONT)
        eventually("an answer", lambda: self.browser.text("#state") == "Ready")
        assert not self.browser.text("#lost-since")
        ok("silence is said, with since when, and ends by itself")

    def a_hidden_page_asks_nothing(self):
        """Behind another tab the page rests; in front again it goes on."""
        asked = "return performance.getEntriesByType('resource').length"
        # Room for what will be asked; the browser counts 250 unless told.
        self.browser.run("performance.setResourceTimingBufferSize(100000); performance.clearResourceTimings()")
        self.browser.run("""
            Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
            document.dispatchEvent(new Event('visibilitychange'));""")
        # Nothing can be waited for that does not come: what was under way gets its second, then silence counts.
        time.sleep(1)
        before = self.browser.run(asked)
        time.sleep(2.5)
        assert self.browser.run(asked) == before, "it asks although nobody looks"
        self.browser.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        eventually("it goes on", lambda: self.browser.run(asked) > before)
        ok("a hidden page asks nothing")

    def is_readable_everywhere(self):
        """Contrast in light and dark, no horizontal scroll on a phone, a name for everything that can be used."""
        grounds = set()
        for scheme in ["light", "dark"]:
            for width in [1280, 900, 375]:
                self.browser.look_like(width, 812, scheme, mobile=width < 400)
                faint = self.browser.faint_texts()
                assert not faint, f"too faint, {scheme}: {faint[:5]}"
                wide = self.browser.run("return document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{wide} px too wide for {width}"
                row = self.browser.run("return getComputedStyle(document.querySelector('#pools tbody tr')).display")
                assert row == ("grid" if width < 400 else "table-row"), f"{row} at {width} px"
                # Nothing runs out of its cell.
                cut = self.browser.run("""return [...document.querySelectorAll('#pools tbody td, #listeners td')]
                    .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)""")
                assert not cut, f"cut off at {width} px: {cut[:3]}"
            grounds.add(self.browser.run("return getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2, "dark is light"
        self.browser.look_like(1280, 900, "light")
        found = self.browser.call("POST", "/elements", {
            "using": "css selector",
            "value": ":is(button, input, select, summary, a):not([hidden] *, tr:nth-child(n + 3) *)"})
        for element in found:
            path = f"/element/{next(iter(element.values()))}"
            if self.browser.call("GET", path + "/displayed"):
                name = self.browser.call("GET", path + "/computedlabel")
                assert name, self.browser.call("GET", path + "/property/outerHTML")
        ok("light and dark differ and have contrast, a phone does not scroll sideways, every control has a name")

    def nothing_was_complained_about(self):
        """No error of the script and no violation; and if there were one, it would be seen."""
        # The browser notes the answers that were refusals on purpose, and evener while it stood still.
        bad = [line for line in self.browser.messages() if "Failed to load resource" not in line]
        assert not bad, bad
        ran = self.browser.run("""
            const image = new Image(); image.src = 'http://127.0.0.1:9/'; document.body.append(image);
            const button = document.createElement('button');
            try { button.setAttribute('onclick', 'window.ran = 1'); button.click(); } catch {}
            try { document.body.innerHTML = '<p>parsed</p>'; } catch {}
            return window.ran === 1 || document.body.textContent === 'parsed';""")
        assert not ran, "an inline handler ran, or text was parsed as HTML"
        eventually("the image is a violation", lambda: any(
            "Content Security Policy" in line for line in self.browser.messages()))
        ok("no error and no violation; the policy stops a foreign image, an inline handler and text as HTML")


def says_whether_it_is_ready(scene, browser):
    """The first line says whether evener is ready, and if not, why; the pools stand by their trouble."""
    (spare, late), (_, port) = scene.backend(), scene.backend()
    spare.end()
    check = {"type": "tcp", "interval": "300ms", "timeout": "200ms", "fall": 1, "rise": 1}
    pools = {"good": [port], "spread": [port, 1], "better": [port], "lost": [late], "unused": [1]}
    evener = scene.evener("pools", {
        "listeners": [{"name": name, "bind": "127.0.0.1:0", "pool": name} for name in pools if name != "unused"],
        "pools": [{"name": name, "health_check": check, "backends": [f"127.0.0.1:{port}" for port in ports]}
                  for name, ports in pools.items()],
        "admin": {"bind": "127.0.0.1:0"},
    })
    browser.open(f"{evener.url}/")
    seen = lambda: browser.run("return [...document.querySelectorAll('#pools h2 bdi')].map((name) => name.textContent)")
    eventually("the pool that is lost", lambda: browser.text("#state") == "Not ready: pool lost has no backend that can serve")
    eventually("its place", lambda: seen() == ["lost", "spread", "unused", "better", "good"])
    assert "no listener leads here" in browser.text("#pools > section:nth-child(3)")
    assert "not ready" in browser.run("return document.title")
    scene.backend(late)
    eventually("ready", lambda: browser.text("#state") == "Ready")
    eventually("by name", lambda: seen() == ["spread", "unused", "better", "good", "lost"])
    ok("the first line says whether evener is ready, and pools in trouble stand first")


def asks_for_the_token(scene, browser):
    """Where there is a token, the page asks for it, says when it is wrong, and stores it nowhere."""
    file = f"{scene.scratch}/token"
    write(file, "correct-horse-battery")
    _, port = scene.backend()
    evener = scene.evener("guarded", config([backend_of("a", port)], token_file=file))
    browser.open(f"{evener.url}/")
    eventually("the question", lambda: browser.text("#token-why"))
    browser.type("#token", "wrong-horse-battery\ue007")
    eventually("a refusal", lambda: "not the token" in browser.text("#token-why"))
    browser.type("#token", "correct-horse-battery\ue007")
    eventually("the backend", lambda: browser.run(ROWS) == [["a", "Up"]])
    browser.click(button("Maintain", "a"))
    browser.click("#question-yes")
    eventually("the change", lambda: browser.run(ROWS) == [["a", "Maintenance"]])
    kept = browser.run("return [localStorage.length, sessionStorage.length, document.cookie, location.href]")
    assert kept == [0, 0, "", f"{evener.url}/"], kept
    browser.open(f"{evener.url}/")
    eventually("the question again", lambda: browser.text("#token-why"))
    ok("the page asks for the token and forgets it")


def main():
    with Scene(sys.argv[1], sys.argv[2]) as scene:
        browser = Browser()
        try:
            Case(scene, browser).all()
            says_whether_it_is_ready(scene, browser)
            asks_for_the_token(scene, browser)
        except BaseException:
            browser.screenshot(f"{tempfile.gettempdir()}/status-page-failed.png")
            print(f"a picture of it: {tempfile.gettempdir()}/status-page-failed.png", file=sys.stderr)
            raise
        finally:
            browser.close()


main()
