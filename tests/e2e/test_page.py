"""The operators' page, in a real browser."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.browser import Browser
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout, build_image, busybox
from tests.rig.ports import free_port
from tests.rig.registry import Registry
from tests.rig.simple import Page, Refusing
from tests.rig.until import until
from tests.rig.wire import Wire

IMAGE = f"{UPSTREAM}/team/app:v1"
MARK = "is not for you"
PARTS = ("banner", "main", "heading", "table", "columnheader", "rowheader", "button", "meter")


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


@pytest.fixture
def page() -> str:
    """Where the page is."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def settings(page: str) -> dict[str, dict[str, object]]:
    """The admin listener on a port."""
    return {"admin": {"listen": page}}


@pytest.fixture
def watched(
    directory: Path, containerd: Containerd, registry: Registry, settings: dict[str, dict[str, object]]
) -> Iterator[Daemon]:
    """A daemon with the page."""
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def browser(directory: Path) -> Iterator[Browser]:
    """One with nothing in it."""
    with Browser(directory) as browser:
        yield browser


@pytest.mark.slow
def test_a_push_is_seen(watched: Daemon, registry: Registry, page: str, browser: Browser, layout: Layout) -> None:
    """It appears by itself, waits while the upstream is away, and ends as replicated; its moments are told on request.

    Nobody but the daemon is asked for anything, and the restart of a daemon is told and got over.
    """
    browser.open(f"http://{page}/")
    until(lambda: browser.text("#ready") == "ready", "it has asked")
    assert "None" in browser.text("#images")
    registry.kill()
    Wire(watched.url).push("team/app", "v1", layout)
    until(lambda: "team/app:v1" in browser.text("#images tbody"), "the push is seen")
    until(lambda: "away" in browser.text("#upstreams"), "so is the upstream")
    assert "1 on their way" in browser.run("document.title")
    registry.start()
    until(lambda: "replicated" in browser.text("#images tbody"), "it is upstream")
    browser.run("document.querySelector('#images tbody button').click()")
    until(lambda: "Replicated" in browser.text("#timeline"), "its moments are told")
    told = browser.text("#timeline tbody").splitlines()
    assert [line.split("\t")[0] for line in told][:3] == ["First byte", "Last byte", "Acknowledged"]
    assert browser.run("document.activeElement.id") == "timeline"
    assert browser.errors == []
    watched.stop()
    until(lambda: "does not answer" in browser.text("#link"), "the daemon is missed")
    watched.start()
    until(lambda: browser.text("#link") == "", "it is back")
    assert {re.sub(r"(//[^/]*).*", r"\1", url) for url in browser.requested if not url.startswith("data:")} == {
        f"http://{page}"
    }


@pytest.mark.slow
def test_a_parked_job(directory: Path, containerd: Containerd, page: str, browser: Browser, layout: Layout) -> None:
    """By the keyboard alone it is tried again, and given up; it is said what was done, and others' words stay text."""
    settings: dict[str, dict[str, object]] = {"admin": {"listen": page}}
    with (
        Refusing(f"<img src=x onerror='document.title=1'> {MARK}") as upstream,
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: upstream.url}, settings=settings) as daemon,
    ):
        Wire(daemon.url).push("team/app", "v1", layout)
        browser.look("dark")
        browser.open(f"http://{page}/")
        until(lambda: MARK in browser.text("#parked"), "it is parked")
        assert "<img" in browser.text("#parked")
        assert browser.run("document.querySelectorAll('img').length") == 0
        _is_accessible(browser)
        _has_contrast(browser)
        dark = browser.picture()
        browser.look("light")
        _has_contrast(browser)
        assert browser.picture() != dark
        browser.look("light", 320)
        assert browser.run("document.documentElement.scrollWidth") <= 320
        until(lambda: _tabbed(browser, "Retry"), "the button is reached")
        browser.press("Enter")
        until(lambda: "is tried again" in browser.text("#news"), "it is said")
        parked = "document.querySelector('#parked tbody tr')?.dataset.shown ?? '{}'"
        until(lambda: json.loads(browser.run(parked)).get("attempts") == 2, "it is parked again")
        assert _tabbed(browser, "Give up")
        browser.press("Enter")
        until(lambda: "Press again" in browser.text("#news"), "it asks")
        browser.press("Enter")
        until(lambda: "was given up" in browser.text("#news"), "it is said")
        until(lambda: browser.run("document.querySelector('#parked').hidden"), "nothing waits any more")
        assert browser.errors == []


def _tabbed(browser: Browser, name: str) -> bool:
    """Go there by the key for it, as who has no mouse does; False when it is not to be found."""
    browser.run("document.activeElement.blur()")
    for _ in range(40):
        browser.press("Tab")
        if browser.run("document.activeElement.innerText ?? ''") == name:
            assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return True
    return False


def _is_accessible(browser: Browser) -> None:
    """There are landmarks, headings and headers, and each thing that can be used has a name."""
    tree = browser.accessible()
    roles = {node["role"] for node in tree}
    assert set(PARTS) <= roles, set(PARTS) - roles
    assert not [
        node for node in tree if node["role"] in {"button", "link", "meter", "progressbar"} and not node["name"]
    ]


def _has_contrast(browser: Browser) -> None:
    """All text has at least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    ratios = browser.run(
        """(() => {
          const light = (color) => {
            const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
              .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const paper = (element) => {
            for (let at = element; at; at = at.parentElement) {
              const color = getComputedStyle(at).backgroundColor;
              if (!/, 0\\)$/.test(color)) return color;
            }
            return "rgb(255, 255, 255)";
          };
          return [...document.querySelectorAll("body *")]
            .filter((each) => each.offsetParent && [...each.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
            .map((each) => {
              const pair = [light(getComputedStyle(each).color), light(paper(each))].sort((a, b) => b - a);
              return [each.tagName + "." + each.className, (pair[0] + 0.05) / (pair[1] + 0.05)];
            });
        })()"""
    )
    assert len(ratios) > 10
    assert [found for found in ratios if found[1] < 4.5] == []


@pytest.mark.slow
def test_pages_of_others(watched: Daemon, page: str, browser: Browser) -> None:
    """They can neither press buttons here nor read; nor do names that only lead here count."""
    with Page("<title>stranger</title>") as stranger:
        browser.open(stranger.url)
        for mode in ("no-cors", "cors"):
            browser.run(f"fetch('http://{page}/drain', {{method: 'POST', mode: '{mode}'}}).catch(() => 'failed')")
        assert browser.run(f"fetch('http://{page}/status').then(() => 'read', () => 'not')") == "not"
    assert watched.status()["draining"] is False
    assert {line["status"] for line in watched.log_lines() if line.get("path") == "/drain"} == {403}
    wire = Wire(f"http://{page}")
    assert wire.ask("GET", "/status", headers={"Host": page}).status == 200
    assert wire.ask("GET", "/status", headers={"Host": f"localhost:{page.partition(':')[2]}"}).status == 200
    for host in ("evil.example.com", f"evil.example.com:{page.partition(':')[2]}", "127.0.0.1.evil.example.com", "[::"):
        assert wire.ask("GET", "/status", headers={"Host": host}).status == 403, host
    assert wire.ask("POST", "/jobs/retry?all=true").status == 200  # no browser: it has no page
    assert wire.ask("POST", "/jobs/retry?all=true", headers={"Origin": "http://evil.example.com"}).status == 403
    assert wire.ask("POST", "/jobs/retry?all=true", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
