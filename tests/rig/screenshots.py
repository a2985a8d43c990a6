"""Pictures of the operators' page, for the README: `python -m tests.rig.screenshots`."""

import tempfile
from pathlib import Path

from tests.rig.browser import Browser
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Noise, build_image, busybox
from tests.rig.ports import free_port
from tests.rig.registry import Registry
from tests.rig.strange import refusing
from tests.rig.until import until
from tests.rig.wire import Wire

_FIGURES = Path(__file__).parents[2] / "docs/figures"
_MAIN, _AWAY, _OTHER = "registry.example.com", "eu.registry.example.com", "archive.example.com"


def main() -> None:
    """Push some images, some of which get nowhere, and look."""
    with tempfile.TemporaryDirectory() as directory:
        _draw(Path(directory))


def _draw(directory: Path) -> None:
    page = f"127.0.0.1:{free_port()}"
    settings: dict[str, dict[str, object]] = {
        "admin": {"listen": page},
        "replication": {"backoff_first": 20.0, "backoff_max": 60.0},
        "disk": {"evict_at": 85, "evict_to": 80},
    }
    with (
        Containerd(directory / "containerd") as containerd,
        Registry(directory / "upstream") as registry,
        refusing("the quota of team/web is used up") as denying,
    ):
        upstreams: dict[str, str | dict[str, object]] = {
            _MAIN: {"url": registry.url, "rate": 6_000_000},
            _AWAY: f"http://127.0.0.1:{free_port()}",
            _OTHER: denying.url,
        }
        with (
            Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon,
            Browser(directory) as browser,
        ):
            wire = Wire(daemon.url)
            small = build_image(directory / "small", [busybox("small")])
            large = build_image(directory / "large", [busybox("large"), Layer([Noise("weights", 96 << 20)], "none")])
            browser.look("light", 1100, 1060)
            browser.open(f"http://{page}/")
            until(lambda: browser.text("#ready") == "ready", "the page has asked")
            wire.push("team/api", "v41", small)
            daemon.wait("team/api:v41", "replicated")
            for registry_name, repository in ((_OTHER, "team/web"), (_AWAY, "team/worker")):
                _push(daemon, registry_name, repository, small.directory)
            wire.push("team/model", "2026-11", large)
            until(lambda: "quota" in browser.text("#parked"), "one is parked")
            until(lambda: " away" in browser.text("#upstreams"), "an upstream is away")
            until(lambda: "MiB" in browser.text("#images tbody"), "one is being sent")
            browser.run(
                "[...document.querySelectorAll('#images tbody button')].find(b => /api/.test(b.innerText)).click()"
            )
            until(lambda: "Replicated" in browser.text("#timeline"), "the moments of one are shown")
            for scheme in ("light", "dark"):
                browser.look(scheme, 1100, 1060)
                browser.run("document.activeElement.blur(), scrollTo(0, 0)")
                (_FIGURES / f"page-{scheme}.png").write_bytes(browser.picture())


def _push(daemon: Daemon, registry: str, repository: str, layout: Path) -> None:
    done = daemon.cli("push", str(layout), f"{registry}/{repository}:v7")
    done.check_returncode()


if __name__ == "__main__":
    main()
