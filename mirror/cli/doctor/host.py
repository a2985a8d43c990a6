"""The host's limits: open files, and what the kernel lets one connection have on its way over a long link."""

import resource
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mirror import config
from mirror.cli.doctor.checks import Check, Finding, hint, ok, skipped, warning
from mirror.cli.doctor.daemon import ANSWERS, DaemonChecks
from mirror.cli.doctor.upstream import UpstreamChecks

_BESIDE = 512  # files, besides a connection each: the journal, containerd, upstreams, blobs on their way
_IPV4 = Path("/proc/sys/net/ipv4")
# What of a buffer is data, and not bookkeeping: 117 Mbit/s over 170 ms were had of 4 MiB (docs/long-link.md).
_SHARE = 0.6
_WANTED = 1_000_000_000 / 8
_MIB = 1 << 20


class HostChecks:
    """What the kernel allows the daemon."""

    def __init__(self, settings: config.Settings, daemon: DaemonChecks, upstreams: Sequence[UpstreamChecks]) -> None:
        self._connections = settings.http.connections
        self._daemon = daemon
        self._upstreams = upstreams

    def checks(self) -> list[Check]:
        """What there is to see of it."""
        return [
            Check("host.open files", self._open_files, after=[ANSWERS]),
            *(
                Check("host.long link", partial(long_link, each), each.name, needs=[each.key("connection")])
                for each in self._upstreams
            ),
        ]

    def _open_files(self) -> Finding:
        """Whether the daemon may have as many connections as the settings say."""
        _, most = resource.prlimit(self._daemon.pid or 0, resource.RLIMIT_NOFILE)
        wanted = self._connections + _BESIDE
        whose = "the daemon" if self._daemon.pid else "this shell, and so what it starts,"
        if most != resource.RLIM_INFINITY and most < wanted:
            seen = f"{whose} may have {most} files open, and http.connections is {self._connections}"
            return warning(seen, f"LimitNOFILE={wanted} in the unit, or a smaller http.connections")
        return ok(f"{whose} may have {most if most >= 0 else 'any number of'} files open")


def long_link(upstream: UpstreamChecks) -> Finding:
    """What one blob can have of a fast link, by the round trip and the kernel's largest buffers."""
    if upstream.took is None:
        return skipped("the round trip is not known")
    names = ["tcp_wmem", *(["tcp_rmem"] if upstream.is_pulled else [])]
    largest = {name: int((_IPV4 / name).read_text().split()[2]) for name in names}
    needed = _WANTED * upstream.took / _SHARE
    small = [name for name, size in largest.items() if size < needed]
    away = f"{upstream.took * 1000:.0f} ms away"
    if not small:
        return ok(f"{away}: one connection may have more than 1 Gbit/s")
    rate = min(largest.values()) * _SHARE / upstream.took * 8 / 1e6
    size = -(-int(needed) // _MIB) * _MIB
    settings = " ".join(f"net.ipv4.{name}='4096 131072 {size}'" for name in small)
    congestion = (_IPV4 / "tcp_congestion_control").read_text().strip()
    more = (
        ""
        if congestion == "bbr"
        else f"; with losses on the way also net.ipv4.tcp_congestion_control=bbr ({congestion})"
    )
    seen = f"{away}: one connection gets at most {rate:.0f} Mbit/s of a faster link"
    return hint(seen, f"sysctl -w {settings}{more}")
