"""What clients need to know to come to the daemon first: for each tool its files, and what else there is to say. Pure.

Source: containerd, "Registry host configuration" (hosts.toml); BuildKit, buildkitd.toml; dockerd, daemon.json;
containers-registries.conf(5); k3s, "Private Registry Configuration".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import PurePosixPath

CERTIFICATES = PurePosixPath("/etc/containerd/certs.d")
"""Where containerd looks for what it should know of each registry."""

_DOCKER = PurePosixPath("/etc/docker")
_CONTAINERS = PurePosixPath("/etc/containers")
_HUB = "docker.io"
_FOR_KUBELET = (
    f'the kubelet\'s side of containerd looks there when its config.toml says config_path = "{CERTIFICATES}" in the '
    "table registry of the CRI plugin, from its next start"
)
_HEADING = "# Made by `registry-mirror setup`, which removes it again with --undo, unless it was changed."


@dataclass(frozen=True, slots=True)
class Mirror:
    """The daemon, as clients reach it: `host:port`, by TLS or without.

    `ca` is a file with the authority of its certificate, and its content; None is one of the system's. With `push`
    clients are to push to it under the registries' names, too.
    """

    host: str
    is_tls: bool = False
    ca: tuple[PurePosixPath, str] | None = None
    push: bool = False

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.is_tls else 'http'}://{self.host}"

    @property
    def is_local(self) -> bool:
        """Whether it is on the loopback, where some clients need no TLS."""
        name = self.host.rpartition(":")[0].strip("[]")
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"


@dataclass(frozen=True, slots=True)
class Registry:
    """A configured registry: its name, where it is, and how it is to be trusted. The default one needs no `ns=`."""

    name: str
    url: str
    is_default: bool
    ca: PurePosixPath | None = None
    client: tuple[PurePosixPath, PurePosixPath] | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """Files by their paths, and what is left for a person to do or to know."""

    files: Mapping[PurePosixPath, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def containerd(mirror: Mirror, registries: Sequence[Registry]) -> Recipe:
    """A hosts.toml for each registry; where the daemon is away, containerd goes to the registry by itself."""
    files = {CERTIFICATES / registry.name / "hosts.toml": _hosts(mirror, registry) for registry in registries}
    return Recipe(files, [f"ctr looks there with --hosts-dir {CERTIFICATES}", _FOR_KUBELET])


def _hosts(mirror: Mirror, registry: Registry) -> str:
    lines = [f"server = {_quoted(registry.url)}"]
    lines += [f"ca = {_quoted(registry.ca)}"] if registry.ca else []
    lines += [f"client = [[{', '.join(map(_quoted, registry.client))}]]"] if registry.client else []
    lines += ["", f"[host.{_quoted(mirror.url)}]", f"capabilities = {json.dumps(_capabilities(mirror))}"]
    lines += [f"ca = {_quoted(mirror.ca[0])}"] if mirror.ca else []
    return _text(lines)


def buildkit(mirror: Mirror, registries: Sequence[Registry]) -> Recipe:
    """A buildkitd.toml; only a BuildKit whose mirrors may have capabilities pushes to one."""
    lines: list[str] = []
    for registry in registries:
        lines += [f"[registry.{_quoted(registry.name)}]", f"mirrors = [{_quoted(mirror.host)}]"]
        lines += [f"capabilities = {json.dumps(_capabilities(mirror))}"] if mirror.push else []
        lines += [""]
    lines += [f"[registry.{_quoted(mirror.host)}]"]
    if mirror.ca:
        lines += [f"ca = [{_quoted(mirror.ca[0])}]"]
    elif not mirror.is_tls:
        lines += ["http = true"]
    return Recipe({PurePosixPath("/etc/buildkit/buildkitd.toml"): _text(lines)}, ["restart buildkitd"])


def docker(mirror: Mirror, registries: Sequence[Registry]) -> Recipe:
    """What dockerd can be told: that it may use plain HTTP, an authority, and a mirror of Docker Hub."""
    settings: dict[str, object] = {}
    if not mirror.is_tls and not mirror.is_local:
        settings["insecure-registries"] = [mirror.host]
    notes = [f"dockerd has mirrors for {_HUB} alone: for others push to {mirror.host}/…, or see docs/clients.md"]
    if any(registry.name == _HUB and registry.is_default for registry in registries):
        settings["registry-mirrors"] = [mirror.url]
        notes = []
    files = {_DOCKER / "daemon.json": json.dumps(settings, indent=2) + "\n"} if settings else {}
    files |= _authority(_DOCKER, mirror)
    return Recipe(files, [*notes, *(["restart dockerd"] if settings else [])])


def podman(mirror: Mirror, registries: Sequence[Registry]) -> Recipe:
    """A file for podman, buildah and skopeo; they do not say which registry is meant, so it is for the default one."""
    insecure = "true" if not mirror.is_tls else "false"
    lines: list[str] = []
    for registry in (registry for registry in registries if registry.is_default):
        scheme, _, location = registry.url.partition("://")
        lines += ["[[registry]]", f"prefix = {_quoted(registry.name)}", f"location = {_quoted(location)}"]
        lines += ["insecure = true"] if scheme == "http" else []
        lines += ["", "[[registry.mirror]]", f"location = {_quoted(mirror.host)}", f"insecure = {insecure}", ""]
    lines += ["[[registry]]", f"location = {_quoted(mirror.host)}", f"insecure = {insecure}"]
    files = {_CONTAINERS / "registries.conf.d/50-registry-mirror.conf": _text(lines)} | _authority(_CONTAINERS, mirror)
    others = [registry.name for registry in registries if not registry.is_default]
    return Recipe(files, [f"not for {name}: a mirror is not told which registry is meant" for name in others])


def k3s(mirror: Mirror, registries: Sequence[Registry]) -> Recipe:
    """A registries.yaml, from which k3s makes the files of its own containerd."""
    lines = ["mirrors:"]
    for registry in registries:
        endpoints = [mirror.url, *([] if registry.url == f"https://{registry.name}" else [registry.url])]
        lines += [f"  {_quoted(registry.name)}:", "    endpoint:", *(f"      - {_quoted(url)}" for url in endpoints)]
    if mirror.ca:
        lines += ["configs:", f"  {_quoted(mirror.host)}:", "    tls:", f"      ca_file: {_quoted(mirror.ca[0])}"]
    return Recipe(
        {PurePosixPath("/etc/rancher/k3s/registries.yaml"): _text(lines)},
        ["restart k3s; its containerd is at /run/k3s/containerd/containerd.sock, in the namespace k8s.io"],
    )


RECIPES: Mapping[str, Callable[[Mirror, Sequence[Registry]], Recipe]] = {
    "containerd": containerd,
    "buildkit": buildkit,
    "docker": docker,
    "podman": podman,
    "k3s": k3s,
}
"""By the tool that they are for."""


def _capabilities(mirror: Mirror) -> list[str]:
    return ["pull", "resolve", *(["push"] if mirror.push else [])]


def _authority(directory: PurePosixPath, mirror: Mirror) -> dict[PurePosixPath, str]:
    """A copy of the authority, where docker and podman look for the one of a host."""
    return {directory / "certs.d" / mirror.host / "ca.crt": mirror.ca[1]} if mirror.ca else {}


def _quoted(value: object) -> str:
    """A string as it stands in TOML, and in YAML."""
    return json.dumps(str(value), ensure_ascii=False)


def _text(lines: Sequence[str]) -> str:
    return "\n".join([_HEADING, *lines, ""])
