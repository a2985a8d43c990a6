"""Clients on this host: whether they come here first, and whether what `setup` wrote is still that."""

import socket
import tomllib
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from yarl import URL

from mirror.cli.described import mirror_at
from mirror.cli.doctor.checks import Check, Finding, broken, hint, ok, skipped, warning
from mirror.cli.doctor.processes import is_running
from mirror.cli.doctor.unseen import forbidden
from mirror.cli.placed import PlacedFiles
from mirror.cli.recipes import CERTIFICATES, Mirror
from mirror.config import Settings

_CONTAINERD = Path("etc/containerd/config.toml")
_TABLES = (("io.containerd.grpc.v1.cri", "registry"), ("io.containerd.cri.v1.images", "registry"))
_WRITE = "registry-mirror setup containerd --write"


def client_checks(settings: Settings, root: Path) -> list[Check]:
    """Those of files below `root`."""
    mirrors = [mirror_at(listener) for listener in settings.listeners.values() if not listener.socket]
    placed = PlacedFiles(root, PurePosixPath(settings.journal.path.parent.absolute()) / "setup.json")
    return [
        *(Check("clients.containerd", partial(_hosts, root, name, mirrors), name) for name in settings.upstreams),
        Check("clients.kubelet", partial(_kubelet, root)),
        Check("clients.files", partial(_placed, placed)),
    ]


def _hosts(root: Path, registry: str, mirrors: Sequence[Mirror]) -> Finding:
    """Whether containerd comes here before it goes to a registry."""
    if not mirrors:
        return skipped("no listener is on TCP")
    file = root / CERTIFICATES.relative_to("/") / registry / "hosts.toml"
    try:
        hosts = list(tomllib.loads(file.read_text()).get("host", {}))
    except FileNotFoundError:
        return hint(
            f"containerd goes to {registry} by itself: there is no {file}", f"{_WRITE}, if it is to come here first"
        )
    except OSError as error:
        return forbidden(error) or broken(f"{file}: {error.strerror}", "see to it, or remove it")
    except ValueError as error:
        return broken(f"{file}: {error}", f"mend it, or remove it and: {_WRITE}")
    if hosts and any(_leads(hosts[0], mirror) for mirror in mirrors):
        return ok(f"{file} leads here first")
    first = f"to {hosts[0]} first" if hosts else "to no host"
    return warning(
        f"{file} leads {first}, and not to {mirrors[0].url}", f"put this daemon first, or remove it and: {_WRITE}"
    )


def _leads(host: str, mirror: Mirror) -> bool:
    """Whether a key of hosts.toml is a listener, by its address or another one of this host."""
    there = URL(host if "://" in host else f"https://{host}")
    here = URL(mirror.url)
    if (there.scheme, there.port) != (here.scheme, here.port) or not there.host:
        return False
    return there.host == here.host or _is_local(there.host)


def _is_local(host: str) -> bool:
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind) as probe:
                probe.bind(address)
    except OSError:
        return False
    return True


def _kubelet(root: Path) -> Finding:
    """Whether the kubelet's side of containerd reads those files at all."""
    if not ((root / "var/lib/kubelet").is_dir() or is_running("kubelet")):
        return ok("no kubelet is on this host; ctr and nerdctl need no more than these files")
    file = root / _CONTAINERD
    try:
        plugins = tomllib.loads(file.read_text()).get("plugins", {})
    except FileNotFoundError:
        plugins = {}
    except (OSError, ValueError) as error:
        return skipped(f"{file} cannot be read: {error}")
    if str(CERTIFICATES) in " ".join(filter(None, (_config_path(plugins, *table) for table in _TABLES))).split(":"):
        return ok(f"{file} has config_path")
    seen = f"{file} has no config_path, so pods are pulled past this daemon"
    return hint(seen, f'config_path = "{CERTIFICATES}" in the table registry of the CRI plugin, and restart containerd')


def _config_path(plugins: dict[str, Any], plugin: str, table: str) -> str:
    return str(plugins.get(plugin, {}).get(table, {}).get("config_path", ""))


def _placed(placed: PlacedFiles) -> Finding:
    """Whether the files that `setup` wrote are still as it wrote them."""
    try:
        changed = placed.changed()
    except OSError as error:
        return forbidden(error) or skipped(f"what setup wrote is not known: {error}")
    if changed:
        seen = f"not any more what setup wrote: {', '.join(map(str, changed))}"
        return hint(seen, "if that was not meant: registry-mirror setup TOOL --write, after removing it")
    return ok("what setup wrote is as it was")
