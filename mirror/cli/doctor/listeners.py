"""Listeners: whether each can have its address, whom that lets in, and what it shows of itself."""

import errno
import ipaddress
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mirror import config
from mirror.app.secrets import looked_at
from mirror.cli.doctor.certificates import Certificate, read_certificate
from mirror.cli.doctor.checks import Check, Finding, broken, hint, ok, warning
from mirror.cli.doctor.daemon import ANSWERS, DaemonChecks
from mirror.cli.doctor.processes import holders_of, listeners_on, named
from mirror.cli.doctor.unseen import forbidden, nearest, unseen
from mirror.http.tls import ServerTls
from mirror.runtime.clock import SystemClock

_SOON = timedelta(days=14)
_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_NO_IPV6 = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
_PATIENCE = 2.0


class ListenerChecks:
    """One listener of the settings."""

    def __init__(self, name: str, listener: config.Listener, settings: config.Settings, daemon: DaemonChecks) -> None:
        self._name = name
        self._listener = listener
        self._is_open = settings.is_open
        self._daemon = daemon

    def checks(self) -> list[Check]:
        """What there is to see of it."""
        return [
            Check("listener.address", self._address, self._name, after=[ANSWERS]),
            Check("listener.exposure", self._exposure, self._name),
            Check("listener.certificate", self._certificate, self._name),
        ]

    def _key(self, key: str) -> str:
        return f"listeners.{self._name}.{key}"

    def _address(self) -> Finding:
        """Whether it is ours to listen at: the daemon does, or could."""
        if self._listener.socket:
            return self._unix(self._listener.socket)
        try:
            self._bind(*self._listener.address)
        except socket.gaierror as error:
            return broken(f"{self._listener.listen} is no address: {error.strerror}", f"set {self._key('listen')}")
        except OSError as error:
            return self._taken() if error.errno == errno.EADDRINUSE else self._impossible(error)
        if self._daemon.pid is not None:
            seen = f"a daemon runs, and does not listen at {self._listener.listen}"
            return warning(seen, "restart it, as it was started with other settings: systemctl restart registry-mirror")
        return ok(f"{self._listener.listen} is free")

    def _bind(self, host: str, port: int) -> None:
        """Have the address for a moment, without listening."""
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)

    def _taken(self) -> Finding:
        holders = holders_of(listeners_on(self._listener.address[1]))
        if self._daemon.pid in holders:
            return ok(f"the daemon listens at {self._listener.listen}")
        who = ", ".join(map(named, holders)) or "a process that this user may not see (run this as root)"
        return broken(f"{self._listener.listen} is taken by {who}", f"end that one, or set {self._key('listen')}")

    def _impossible(self, error: OSError) -> Finding:
        host, port = self._listener.address
        if isinstance(error, PermissionError):
            first = _UNPRIVILEGED.read_text().strip()
            remedy = f"give the daemon CAP_NET_BIND_SERVICE (as its unit does), or set {self._key('listen')}"
            return broken(f"user {os.geteuid()} may not have port {port}: it is below {first}", remedy)
        if ":" in host and (not _NO_IPV6.exists() or _NO_IPV6.read_text().strip() == "1"):
            return broken(f"{host} cannot be had: IPv6 is off here", f"set {self._key('listen')} to an IPv4 address")
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return broken(f"{host} is no address of this host", f"set {self._key('listen')}; ip address show")
        return broken(f"{self._listener.listen}: {error.strerror}", f"set {self._key('listen')}")

    def _unix(self, path: Path) -> Finding:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PATIENCE)
                probe.connect(str(path))
            return ok(f"somebody listens at {path}")
        except (FileNotFoundError, ConnectionRefusedError):
            directory = nearest(path.parent)
            if os.access(directory, os.W_OK | os.X_OK):
                return ok(f"{path} can be made")
            return broken(f"this user may not make a socket in {directory}", f"set {self._key('listen')}")
        except OSError as error:
            return forbidden(error) or broken(f"{path}: {error.strerror or error}", f"set {self._key('listen')}")

    def _exposure(self) -> Finding:
        """Whether strangers reach a listener at which everybody may do everything."""
        if not self._is_open:
            return ok("callers are told apart, and may do what [rules] allow")
        if self._listener.socket:
            return ok("only who may open the socket reaches it")
        host, _ = self._listener.address
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        if host == "localhost" or (address and address.is_loopback):
            return ok("only this host reaches it")
        seen = f"whoever reaches {host} may push and pull anything, and nobody is told from others"
        remedy = f"set [identity] and [rules], or {self._key('listen')} to 127.0.0.1"
        is_private = address and address.is_private and not address.is_unspecified
        return hint(seen, remedy) if is_private else warning(seen, remedy)

    def _certificate(self) -> Finding:
        """Whether certificate and key go together, count today, and are for where it listens."""
        if self._listener.tls is None:
            return ok("it has none: plain HTTP")
        try:
            tls = looked_at(self._listener.tls)
            ServerTls(tls.certificate, tls.key, tls.client_ca)
            return self._judged(read_certificate(tls.certificate.read_bytes()), tls.certificate)
        except config.SettingsError as error:
            return unseen(error) or broken(str(error), f"set {self._key('tls')}")
        except (ssl.SSLError, ValueError) as error:
            remedy = f"set {self._key('tls')} to a certificate and its key, in PEM"
            return broken(f"{self._files()}: {_why(error)}", remedy)
        except OSError as error:
            return forbidden(error) or broken(f"{self._files()}: {error.strerror}", f"set {self._key('tls')}")

    def _judged(self, certificate: Certificate, file: Path) -> Finding:
        now = datetime.fromtimestamp(SystemClock().now(), UTC)
        renew = f"renew {file}; the daemon reads it again by itself"
        if certificate.ends <= now:
            return broken(f"it has expired: {certificate}", renew)
        if certificate.begins > now:
            return broken(
                f"it does not count before {certificate.begins}: {certificate}", "see to the clock: timedatectl"
            )
        if certificate.ends - now < _SOON:
            return warning(f"it expires soon: {certificate}", renew)
        host = "" if self._listener.socket else self._listener.address[0]
        if _is_one_address(host) and host not in certificate.names:
            remedy = "clients that go to the address refuse it: give it that name, or have them go to one it has"
            return hint(f"it is not for {host}: {certificate}", remedy)
        return ok(str(certificate))

    def _files(self) -> str:
        tls = self._listener.tls
        return f"{tls.certificate} and {tls.key}" if tls else ""


def _is_one_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(host)
    return not address.is_unspecified and not address.is_loopback


def _why(error: Exception) -> str:
    if "KEY_VALUES_MISMATCH" in str(error):
        return "the key is not that of the certificate"
    return str(getattr(error, "reason", None) or error)
