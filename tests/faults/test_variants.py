"""What dies in the middle of a conversion: it goes on, or is given up, and nothing of it is left."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Text, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.terminal import Terminal
from tests.rig.until import until
from tests.rig.wire import Wire

REPOSITORY = "team/app"
NAME = f"{UPSTREAM}/{REPOSITORY}:v1"
# A level, and a size, that take a processor some seconds.
SETTINGS: dict[str, dict[str, object]] = {
    "variants": {"load": 1.0, "threads": 1, "rules": {"all": {"mode": "tag-suffix", "level": 12, "gain": 0}}}
}
SIZE = 48 << 20


@dataclass
class Conversion:
    """A conversion of which one layer is done, and another one is under way."""

    daemon: Daemon
    containerd: Containerd
    layout: Layout

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under a name."""
        return [line for line in self.daemon.log_lines() if line["event"] == name]

    def begin(self) -> None:
        """Push, and wait for the middle of it."""
        Wire(self.daemon.url).push(REPOSITORY, "v1", self.layout)
        self.wait()

    def wait(self) -> None:
        """Wait until the second layer is under way."""
        until(lambda: len(self.events("layer.converted")) == 1, "the first layer is done")
        until(lambda: any("/made-" in ref for ref in self.containerd.ingests()), "the second one has begun")

    def processes(self) -> list[psutil.Process]:
        """Those that compress."""
        return [each for each in psutil.process_iter() if "mirror.recompress.program" in _command(each)]

    def is_made(self) -> bool:
        """Whether the variant is upstream, of which the first layer was not converted again."""
        until(lambda: self.events("variant.made"), "it is made")
        self.daemon.wait(f"{NAME}-zstd", "replicated")
        layers = [line["layer"] for line in self.events("layer.converted")]
        return len(layers) == len(set(layers)) == 2

    def is_clean(self) -> bool:
        """Whether nothing is left, not even what only leases of it held."""
        self.containerd.collect_garbage()
        held = {name for name in self.containerd.leases() if "/made-" in name or "/job/" in name}
        return not held | self.containerd.ingests() and not self.processes()

    def is_undone(self) -> bool:
        """Whether what was converted is gone, too."""
        made = {line["blob"] for line in self.events("layer.converted")}
        return self.is_clean() and not made & self.containerd.contents()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image with a layer that takes a moment."""
    return build_image(directory / "layout", [busybox(directory.name), Layer([Text("text", SIZE)])])


@pytest.fixture
def conversion(directory: Path, containerd: Containerd, registry: Registry, layout: Layout) -> Iterator[Conversion]:
    """One that is to come."""
    upstreams = {UPSTREAM: registry.url}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=SETTINGS) as daemon:
        yield Conversion(daemon, containerd, layout)
        assert daemon.cli("check", "--json").stdout == ""
    assert not daemon.complaints()


def test_the_daemon_is_killed(conversion: Conversion) -> None:
    """It goes on with the layer that it was at."""
    conversion.begin()
    conversion.daemon.kill()
    until(lambda: not conversion.processes(), "what it had started ends with it")
    conversion.daemon.start()
    assert conversion.is_made()
    until(conversion.is_clean, "nothing is left")


def test_it_is_not_wanted_any_more(conversion: Conversion) -> None:
    """The daemon is killed, and comes back with other settings: what it had made is let go."""
    conversion.begin()
    conversion.daemon.kill()
    config = conversion.daemon.config
    config.write_text(config.read_text().replace('"tag-suffix"', '"off"'))
    conversion.daemon.start()
    until(conversion.is_undone, "nothing is left")
    conversion.daemon.wait(NAME, "replicated")
    assert f"{NAME}-zstd" not in conversion.containerd.images()


def test_containerd_is_killed(conversion: Conversion) -> None:
    """It goes on once that is back."""
    conversion.begin()
    conversion.containerd.kill()
    until(lambda: [line for line in conversion.events("task.failed") if line["kind"] == "convert"], "it is noticed")
    conversion.containerd.start()
    assert conversion.is_made()
    until(conversion.is_clean, "nothing is left")


def test_the_compressor_is_killed(conversion: Conversion) -> None:
    """As for want of memory: it would be again."""
    conversion.begin()
    (process,) = conversion.processes()
    process.kill()
    (refused,) = until(lambda: conversion.events("variant.refused"), "it is given up")
    assert "ended with -9" in refused["reason"]
    until(conversion.is_undone, "nothing is left")


def test_a_person_interrupts_it(conversion: Conversion) -> None:
    """Nobody comes back to it."""
    daemon = conversion.daemon
    daemon.config.write_text(daemon.config.read_text().replace('"tag-suffix"', '"off"'))
    daemon.stop()
    daemon.start()
    Wire(daemon.url).push(REPOSITORY, "v1", conversion.layout)
    daemon.wait(NAME, "replicated")
    arguments = ["convert", NAME, "--level", "12", "--config", str(daemon.config)]
    with Terminal([sys.executable, "-m", "mirror", *arguments]) as terminal:
        conversion.wait()
        until(lambda: "━" in terminal.text and "MiB" in terminal.text, "it shows how far it is")
        terminal.type("\x03")
        assert terminal.end()
    until(conversion.is_undone, "nothing is left")
