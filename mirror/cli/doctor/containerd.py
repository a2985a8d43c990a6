"""The host's containerd: whether it can be reached, is one that we can work with, and takes blobs by the short way."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from mirror import config
from mirror.cli.doctor.checks import Check, Finding, broken, hint, key_of, ok, skipped, warning
from mirror.cli.doctor.processes import is_running, named, peer_of
from mirror.cli.doctor.unseen import forbidden, nearest
from mirror.containerd.channel import Channel
from mirror.containerd.direct import NoWayError
from mirror.containerd.images import ImageRecords
from mirror.containerd.importer import open_store
from mirror.containerd.probe import Probe, check_snapshotter, check_version, facts_of
from mirror.containerd.spool import directory_beside
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import StoreFacts
from mirror.pb.introspection_pb2 import Plugin

_PATIENCE = 3.0
_UNIT = "containerd.service"
_ELSEWHERE = tuple(
    map(
        Path,
        (
            "/run/containerd/containerd.sock",
            "/run/k3s/containerd/containerd.sock",
            "/run/docker/containerd/containerd.sock",
        ),
    )
)
_KUBERNETES = "k8s.io"
_KUBELETS = ("kubelet", "k3s", "k3s-server", "k3s-agent")

SOCKET, ANSWERS = key_of("containerd.socket"), key_of("containerd.answers")


class ContainerdChecks:
    """The containerd of the settings; `facts` are what it says of itself, once it has answered."""

    def __init__(self, settings: config.Containerd, root: Path) -> None:
        self._settings = settings
        self._root = root
        self._plugins: Sequence[Plugin] = ()
        self._version = ""
        self.facts: StoreFacts | None = None

    def checks(self) -> list[Check]:
        """What there is to see of it."""
        return [
            Check("containerd.socket", self._socket),
            Check("containerd.answers", self._answers, needs=[SOCKET], seconds=3 * _PATIENCE),
            Check("containerd.version", self._is_new_enough, needs=[ANSWERS]),
            Check("containerd.snapshotter", self._snapshotter, needs=[ANSWERS]),
            Check("containerd.namespace", self._namespace, needs=[ANSWERS]),
            Check("containerd.import", self._import, needs=[ANSWERS]),
        ]

    def _socket(self) -> Finding:
        """Whether somebody listens there, and we may connect."""
        path = self._settings.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            try:
                connection.connect(str(path))
            except FileNotFoundError:
                others = [str(other) for other in _ELSEWHERE if other != path and other.is_socket()]
                where = f"; there is {', '.join(others)}" if others else ""
                return broken(f"there is no {path}{where}", f"systemctl start {_UNIT}, or set containerd.address")
            except PermissionError:
                remedy = (
                    "run this as root; a daemon of another user needs grpc.uid or grpc.gid in containerd's config.toml"
                )
                return broken(f"user {os.geteuid()} may not connect to {path}", remedy)
            except ConnectionRefusedError:
                return broken(f"nobody listens at {path}: its containerd is dead", f"systemctl restart {_UNIT}")
            except OSError as error:
                return broken(f"{path}: {error.strerror or 'no connection in time'}", "set containerd.address")
            return ok(f"{named(peer_of(connection))} listens at {path}")

    async def _answers(self) -> Finding:
        """Whether it answers, within a time in which one that is only busy does."""
        try:
            self._version, self._plugins = await self._ask()
        except StoreUnavailableError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                return broken(str(error), f"set containerd.address; journalctl --unit {_UNIT} --lines 50")
            seen = f"it takes connections and answers none within {_PATIENCE:.0f} s: it hangs, or its disk does"
            return broken(seen, f"journalctl --unit {_UNIT} --lines 50; systemctl restart {_UNIT}")
        self.facts = facts_of(self._version, self._settings.snapshotter, self._plugins)
        return ok("it answers")

    async def _ask(self) -> tuple[str, Sequence[Plugin]]:
        async with self._channel(self._settings.namespace) as channel:
            probe = Probe(channel, self._settings.snapshotter, deadline=_PATIENCE)
            return await probe.version(), await probe.plugins()

    def _is_new_enough(self) -> Finding:
        """Whether its release is one that we work with."""
        try:
            check_version(self._version)
        except StoreUnavailableError as error:
            return broken(str(error), "install a newer containerd")
        return ok(f"containerd {self._version}")

    def _snapshotter(self) -> Finding:
        """Whether the one that is set is in working order, and if not, which are."""
        wanted = self._settings.snapshotter
        try:
            check_snapshotter(wanted, self._plugins)
        except StoreUnavailableError as error:
            remedy = (
                "set containerd.snapshotter to one of them, or see to it in containerd's config.toml and restart it"
            )
            return broken(str(error), remedy)
        return ok(f"{wanted} is in working order")

    async def _namespace(self) -> Finding:
        """Whether a kubelet on this host would look for images where we put them."""
        ours = self._settings.namespace
        kubelet = (self._root / "var/lib/kubelet").is_dir() or is_running(*_KUBELETS)
        if ours == _KUBERNETES or not kubelet:
            return ok(f"images go into the namespace {ours}")
        try:
            async with self._channel(_KUBERNETES) as neighbour, asyncio.timeout(_PATIENCE):
                images = len(await ImageRecords(neighbour).list(""))
        except (StoreUnavailableError, TimeoutError):
            return skipped(f"images go into the namespace {ours}; those of {_KUBERNETES} could not be counted")
        seen = f"images go into the namespace {ours}; a kubelet is on this host, and {_KUBERNETES} has {images} images"
        remedy = f'set containerd.namespace = "{_KUBERNETES}", or pods do not find what is pushed here'
        return warning(seen, remedy) if images else hint(seen, remedy)

    def _import(self) -> Finding:
        """Whether blobs can be linked into its store, or have to go through it."""
        way = self._settings.importer
        if way == "stream":
            return ok('blobs go through containerd, as containerd.import = "stream" says')
        try:
            why = self._hindrance(self.facts) if self.facts else ""
        except OSError as error:
            if finding := forbidden(error):
                return finding
            why = f"its store cannot be seen from here: {error}"
        if not why:
            return ok(f"blobs are linked into {self.facts.content if self.facts else ''}")
        remedy = "give the daemon write access to the directory above (ReadWritePaths= in its unit)"
        if way == "direct":
            return broken(f"{why}, and containerd.import allows no other way", f'{remedy}, or set it to "auto"')
        seen = f"{why}: blobs go through containerd, which takes several times as long"
        return warning(seen, f'{remedy}, or set containerd.import = "stream" if it is meant to be so')

    def _hindrance(self, facts: StoreFacts) -> str:
        """Why no file can be linked into the store, as far as it shows without trying; empty when it does not."""
        try:
            content = open_store(facts)
        except NoWayError as error:
            return str(error)
        content.parent.stat()
        spool, store = (nearest(each) for each in (directory_beside(content, self._settings.namespace), content))
        if not all(os.access(each, os.W_OK | os.X_OK) for each in (spool, store)):
            return f"this user may not write to {store}"
        if spool.stat().st_dev != store.stat().st_dev:
            return f"{spool} and {store} are on different filesystems"
        return ""

    @asynccontextmanager
    async def _channel(self, namespace: str) -> AsyncIterator[Channel]:
        channel = Channel(self._settings.address, namespace)
        try:
            yield channel
        finally:
            await channel.close()
