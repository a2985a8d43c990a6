"""Deletes that the upstream follows, because its settings say so."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, manifest

CONFIG = b"{}"
RAW = manifest(CONFIG)


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """A daemon whose upstream follows its deletes."""
    upstreams = {UPSTREAM: {"url": registry.url, "delete": True}}
    with Daemon(directory / "daemon", containerd.address, upstreams) as daemon:
        yield daemon
    assert not daemon.complaints()


def _push(wire: Wire) -> None:
    wire.push_blob("team/app", CONFIG)
    assert wire.push_manifest("team/app", "v1", RAW).status == 201


def _counts(daemon: Daemon) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = daemon.status()["counts"]
    return counts


def test_the_upstream_follows(daemon: Daemon, registry: Registry) -> None:
    """A manifest that is deleted by digest is gone upstream too, after the push before it got there."""
    wire = Wire(daemon.url)
    registry.pause()
    _push(wire)
    assert wire.ask("DELETE", f"/v2/team/app/manifests/{digest_of(RAW)}").status == 202
    registry.resume()
    until(lambda: _counts(daemon)["delete"]["done"] == 1, "it is deleted")
    assert _counts(daemon)["replicate"]["done"] == 1
    assert registry.manifest("team/app", digest_of(RAW)) is None


def test_a_push_after_a_delete_wins(daemon: Daemon, registry: Registry) -> None:
    """Whatever order they are tried in, what was pushed last is there in the end."""
    wire = Wire(daemon.url)
    _push(wire)
    daemon.wait("team/app:v1", "replicated")
    registry.kill()
    assert wire.ask("DELETE", f"/v2/team/app/manifests/{digest_of(RAW)}").status == 202
    _push(wire)
    daemon.kill()
    daemon.start()
    registry.start()
    daemon.wait("team/app:v1", "replicated")
    assert _counts(daemon)["delete"]["done"] == 1
    stored = registry.manifest("team/app", "v1")
    assert stored is not None
    assert stored.raw == RAW


def test_an_upstream_that_does_not_delete_tags(daemon: Daemon, registry: Registry) -> None:
    """An upstream may refuse to delete a tag: the delete is parked with its words, and done here."""
    wire = Wire(daemon.url)
    _push(wire)
    daemon.wait("team/app:v1", "replicated")
    assert wire.ask("DELETE", "/v2/team/app/manifests/v1").status == 202
    until(lambda: _counts(daemon)["delete"]["parked"] == 1, "it is parked")
    assert json.loads(wire.ask("GET", "/v2/team/app/tags/list").body)["tags"] == []
    assert registry.tags("team/app") == {"v1"}
