"""Every client there is, by its ordinary command line: what it pushes, it gets back, and nothing goes twice."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.client import OTHER_ARCHITECTURE, Client
from tests.rig.containerd import Containerd
from tests.rig.containers import Buildah, Podman, Skopeo
from tests.rig.crane import Crane
from tests.rig.ctr import Ctr
from tests.rig.daemon import Daemon
from tests.rig.docker import Docker
from tests.rig.images import ARCHITECTURE
from tests.rig.oras import ARTIFACT_TYPE, OrasCommand, OrasLibrary

CLIENTS: Mapping[str, type[Client]] = {
    "skopeo": Skopeo,
    "buildah": Buildah,
    "podman": Podman,
    "docker-classic": Docker,
    "docker-buildkit": Docker,
    "ctr": Ctr,
    "oras": OrasLibrary,
    "oras-command": OrasCommand,
    "crane": Crane,
}

every_client = pytest.mark.parametrize("client", CLIENTS, indirect=True)
index_makers = [name for name, kind in CLIENTS.items() if kind.makes_indexes]
mounters = [name for name, kind in CLIENTS.items() if kind.mounts]
zstd_makers = [name for name, kind in CLIENTS.items() if "zstd" in kind.compressions]


@every_client
def test_an_image_there_and_back(client: Client, repository: str, daemon: Daemon, containerd: Containerd) -> None:
    """An image is in containerd with the digest that the client pushed, and comes back with it into an empty store."""
    pushed = client.push(client.make(repository[-8:]), f"{daemon.host}/{repository}:v1")
    assert containerd.images()[f"{UPSTREAM}/{repository}:v1"] == pushed
    assert client.pull(f"{daemon.host}/{repository}:v1") == pushed


@pytest.mark.parametrize("client", index_makers, indirect=True)
def test_an_index_of_two_platforms(client: Client, repository: str, daemon: Daemon, containerd: Containerd) -> None:
    """An index keeps its platforms, and the client finds its own below it."""
    reference = f"{daemon.host}/{repository}:v1"
    pushed = client.push_index(repository[-8:], reference)
    assert containerd.images()[f"{UPSTREAM}/{repository}:v1"] == pushed
    platforms = json.loads(containerd.content(pushed))["manifests"]
    assert {entry["platform"]["architecture"] for entry in platforms} == {ARCHITECTURE, OTHER_ARCHITECTURE}
    assert client.pull(reference) in {pushed, *(entry["digest"] for entry in platforms)}


@pytest.mark.parametrize("client", ["buildah", "podman"], indirect=True)
def test_layers_that_can_be_read_in_part(
    client: Client, repository: str, daemon: Daemon, containerd: Containerd
) -> None:
    """Layers with a table of contents behind them are kept with it, and unpacked by those who know nothing of it."""
    image, name = client.make(repository[-8:]), f"{UPSTREAM}/{repository}:v1"
    pushed = client.push(replace(image, compression="zstd:chunked"), f"{daemon.host}/{repository}:v1")
    for layer in json.loads(containerd.content(pushed))["layers"]:
        assert "io.containers.zstd-chunked.manifest-position" in layer["annotations"]
    for goal in ("unpacked", "replicated"):
        daemon.wait(name, goal)
    assert containerd.run_container(name).strip() == repository[-8:]
    assert client.pull(f"{daemon.host}/{repository}:v1") == pushed


@pytest.mark.parametrize("client", zstd_makers, indirect=True)
def test_zstd_layers(client: Client, repository: str, daemon: Daemon, containerd: Containerd) -> None:
    """Layers of zstd stay that, and come back."""
    pushed = client.push(client.make(repository[-8:], "zstd"), f"{daemon.host}/{repository}:v1")
    layers = json.loads(containerd.content(pushed))["layers"]
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert client.pull(f"{daemon.host}/{repository}:v1") == pushed


@every_client
def test_pushed_again_nothing_is_uploaded(client: Client, repository: str, daemon: Daemon) -> None:
    """The second push of an image finds every blob there: no upload session is opened."""
    image = client.make(repository[-8:])
    first = client.push(image, f"{daemon.host}/{repository}:v1")
    opened = _posts(daemon, repository, 202)
    assert client.push(image, f"{daemon.host}/{repository}:v2") == first
    assert opened
    assert _posts(daemon, repository, 202) == opened


@pytest.mark.parametrize("client", mounters, indirect=True)
def test_another_repository_mounts_what_is_there(
    client: Client, repository: str, daemon: Daemon, containerd: Containerd
) -> None:
    """What one repository has, another gets by mounting it; the one thing that a client may upload again is the config.

    Only what was pushed to the second repository can be pulled from it, so the mounts are proven by the last pull.
    """
    source, target = f"{daemon.host}/{repository}:v1", f"{daemon.host}/{repository}-copy:v1"
    client.push(client.make(repository[-8:]), source)
    client.pull(source)
    client.copy(source, target)
    layers = json.loads(containerd.content(containerd.images()[f"{UPSTREAM}/{repository}-copy:v1"]))["layers"]
    assert len(_posts(daemon, f"{repository}-copy", 201)) == len(layers) + client.mounts_config
    assert len(_posts(daemon, f"{repository}-copy", 202)) == 1 - client.mounts_config
    client.pull(target)


@pytest.mark.parametrize("client", ["ctr"], indirect=True)
def test_hosts_toml_says_which_registry_is_meant(client: Client, repository: str, daemon: Daemon) -> None:
    """By way of `hosts.toml` each request of a pull names the registry in `ns`; those of a push need not.

    containerd 1.6 and 2.1 leave it out of a push; then the default upstream is meant.
    """
    client.push(client.make(repository[-8:]), f"{daemon.host}/{repository}:v1")
    pushing = _requests(daemon, repository)
    client.pull(f"{daemon.host}/{repository}:v1")
    pulling = _requests(daemon, repository)[len(pushing) :]
    assert {line["ns"] for line in pushing} <= {None, UPSTREAM}
    assert {line["ns"] for line in pulling} == {UPSTREAM}


@pytest.mark.parametrize("client", ["oras", "oras-command"], indirect=True)
def test_an_artifact_keeps_its_type(client: Client, repository: str, daemon: Daemon, containerd: Containerd) -> None:
    """What is no image is stored as it was pushed, its own type and all."""
    pushed = client.push(client.make(repository[-8:]), f"{daemon.host}/{repository}:v1")
    assert json.loads(containerd.content(pushed))["artifactType"] == ARTIFACT_TYPE


def _requests(daemon: Daemon, repository: str) -> list[dict[str, Any]]:
    """What the daemon was asked for in a repository, so far."""
    lines = [line for line in daemon.log_lines() if line["event"] == "http.request"]
    return [line for line in lines if line["path"].startswith(f"/v2/{repository}/")]


def _posts(daemon: Daemon, repository: str, status: int) -> list[dict[str, Any]]:
    """Uploads of a repository: sessions that were opened (202), or blobs that were mounted (201)."""
    lines = _requests(daemon, repository)
    return [line for line in lines if (line["method"], line["status"]) == ("POST", status)]
