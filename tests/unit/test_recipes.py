"""What each tool is told, in the shape in which it wants it."""

import json
import tomllib
from pathlib import PurePosixPath

import pytest

from mirror.cli.recipes import RECIPES, Mirror, Registry

PLAIN = Mirror("127.0.0.1:5000")
ELSEWHERE = Mirror("[fdaa:0:18::3]:5000")
TLS = Mirror("mirror.internal:5443", is_tls=True, ca=(PurePosixPath("/etc/ca.pem"), "the authority"))
ONE = Registry("registry.example.com", "https://registry.example.com", is_default=True)
OTHER = Registry(
    "other.example.com:5443",
    "http://10.0.0.7:5000",
    is_default=False,
    ca=PurePosixPath("/etc/other.pem"),
    client=(PurePosixPath("/etc/c.pem"), PurePosixPath("/etc/c.key")),
)
HUB = Registry("docker.io", "https://registry-1.docker.io", is_default=True)


def files(tool: str, mirror: Mirror, *registries: Registry) -> dict[str, str]:
    return {str(path): text for path, text in RECIPES[tool](mirror, registries).files.items()}


def test_containerd() -> None:
    """It comes here first, and else goes to the registry as the daemon does."""
    found = {path: tomllib.loads(text) for path, text in files("containerd", PLAIN, ONE, OTHER).items()}
    host = {"http://127.0.0.1:5000": {"capabilities": ["pull", "resolve"]}}
    assert found == {
        "/etc/containerd/certs.d/registry.example.com/hosts.toml": {
            "server": "https://registry.example.com",
            "host": host,
        },
        "/etc/containerd/certs.d/other.example.com:5443/hosts.toml": {
            "server": "http://10.0.0.7:5000",
            "ca": "/etc/other.pem",
            "client": [["/etc/c.pem", "/etc/c.key"]],
            "host": host,
        },
    }


def test_containerd_over_tls_and_pushing() -> None:
    """It knows the authority, and may push here."""
    mirror = Mirror(TLS.host, is_tls=True, ca=TLS.ca, push=True)
    (text,) = files("containerd", mirror, ONE).values()
    capabilities = ["pull", "resolve", "push"]
    assert tomllib.loads(text)["host"] == {
        "https://mirror.internal:5443": {"capabilities": capabilities, "ca": "/etc/ca.pem"}
    }


@pytest.mark.parametrize(
    ("mirror", "own"),
    [
        (PLAIN, {"http": True}),
        (TLS, {"ca": ["/etc/ca.pem"]}),
        (Mirror("mirror.internal:443", is_tls=True), {}),
    ],
)
def test_buildkit(mirror: Mirror, own: dict[str, object]) -> None:
    """It has this mirror for each registry, and is told how to speak to it."""
    found = {path: tomllib.loads(text) for path, text in files("buildkit", mirror, ONE, OTHER).items()}
    mirrors = {"mirrors": [mirror.host]}
    registries = {ONE.name: mirrors, OTHER.name: mirrors, mirror.host: own}
    assert found == {"/etc/buildkit/buildkitd.toml": {"registry": registries}}


def test_buildkit_that_pushes() -> None:
    """One whose mirrors have capabilities is told of all three."""
    (text,) = files("buildkit", Mirror(PLAIN.host, push=True), ONE).values()
    assert tomllib.loads(text)["registry"][ONE.name]["capabilities"] == ["pull", "resolve", "push"]


def test_docker() -> None:
    """It needs nothing for the loopback, and has mirrors for Docker Hub alone."""
    assert not files("docker", PLAIN, ONE)
    assert not files("docker", Mirror("localhost:5000"), ONE)
    assert {path: json.loads(text) for path, text in files("docker", ELSEWHERE, ONE).items()} == {
        "/etc/docker/daemon.json": {"insecure-registries": ["[fdaa:0:18::3]:5000"]}
    }
    assert {path: json.loads(text) for path, text in files("docker", PLAIN, HUB).items()} == {
        "/etc/docker/daemon.json": {"registry-mirrors": ["http://127.0.0.1:5000"]}
    }
    assert files("docker", TLS, ONE) == {"/etc/docker/certs.d/mirror.internal:5443/ca.crt": "the authority"}


def test_podman() -> None:
    """Its mirrors are not told which registry is meant: so this one is for the default registry."""
    recipe = RECIPES["podman"](PLAIN, [ONE, OTHER])
    assert [tomllib.loads(text) for text in recipe.files.values()] == [
        {
            "registry": [
                {
                    "prefix": "registry.example.com",
                    "location": "registry.example.com",
                    "mirror": [{"location": "127.0.0.1:5000", "insecure": True}],
                },
                {"location": "127.0.0.1:5000", "insecure": True},
            ]
        }
    ]
    assert [OTHER.name in note for note in recipe.notes] == [True]
    assert set(files("podman", TLS, ONE)) == {
        "/etc/containers/registries.conf.d/50-registry-mirror.conf",
        "/etc/containers/certs.d/mirror.internal:5443/ca.crt",
    }


def test_k3s() -> None:
    """It has this mirror for each registry, and where those are not where their names say so after it."""
    (text,) = files("k3s", TLS, ONE, OTHER).values()
    assert text.splitlines()[1:] == [
        "mirrors:",
        '  "registry.example.com":',
        "    endpoint:",
        '      - "https://mirror.internal:5443"',
        '  "other.example.com:5443":',
        "    endpoint:",
        '      - "https://mirror.internal:5443"',
        '      - "http://10.0.0.7:5000"',
        "configs:",
        '  "mirror.internal:5443":',
        "    tls:",
        '      ca_file: "/etc/ca.pem"',
    ]
