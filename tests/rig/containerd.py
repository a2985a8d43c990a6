"""A private containerd: its own root, state and socket; nothing of the host's is touched.

`CONTAINERD_ROOT` in the environment names the root directory of another Debian to take it from, and `ctr` and `runc`
with it.
"""

import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import psutil

from tests.rig import toml
from tests.rig.process import Process
from tests.rig.programs import Programs

_RUN = 60.0
_RUNS = 3
_ROOT = os.environ.get("CONTAINERD_ROOT", "")

HALTED = "application/vnd.rig.halted.v1.tar+gzip"
"""The media type of a layer of gzip that stops for as long as `Containerd.halt` exists."""
# A shell reads no further than `head` does, so that the rest is there for `cat`.
_HALT = 'gzip -dc | { head -c 1000000; while [ -e "$0" ]; do sleep 0.05; done; exec cat; }'


def version() -> str:
    """What the containerd of the tests says of itself; empty where none can be run, as it needs root."""
    if os.geteuid():
        return ""
    command = ["chroot", _ROOT or "/", "containerd", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


class Containerd(Process):
    """Debian's containerd; keep the path of `directory` short, that of a socket has at most 107 bytes.

    It listens there, or at the `address` of another one that has ended, and whose directory is around this one.

    For as long as the file `halt` exists, it unpacks the first megabyte of a layer of the type `halts` and no more.
    What stops is a stream processor, as containerd calls the programs that it may be told to unpack layers with.
    """

    name = "containerd"
    namespace = "default"
    snapshotter = "overlayfs"
    halts = HALTED

    def __init__(self, directory: Path, address: str | None = None) -> None:
        super().__init__(directory)
        self.address = address or str(directory / "c.sock")
        self.halt = directory / "halt"
        self._config = directory / "config.toml"
        self._config.write_text(toml.dump(self._settings()))

    def _settings(self) -> dict[str, object]:
        return {
            "version": 2,
            "root": str(self.directory / "root"),
            "state": str(self.directory / "state"),
            "disabled_plugins": ["io.containerd.grpc.v1.cri"],
            "grpc": {"address": self.address},
            "debug": {"level": "warn"},
            "plugins": self._plugins(),
            "stream_processors": {"rig.halt": self._halt()},
        }

    def _plugins(self) -> dict[str, object]:
        return {"io.containerd.internal.v1.opt": {"path": str(self.directory / "opt")}}

    def _halt(self) -> dict[str, object]:
        plain = "application/vnd.oci.image.layer.v1.tar"
        return {"accepts": [self.halts], "returns": plain, "path": "/bin/sh", "args": ["-c", _HALT, str(self.halt)]}

    def command(self) -> list[str]:
        """Start it on its own configuration."""
        return self.program("containerd", "--config", str(self._config))

    def program(self, *arguments: str) -> list[str]:
        """The command line of a program that came with it.

        That of this machine runs outside of any room: people have a `ctr` for it that looks for its fifos in /run.
        """
        if not _ROOT:
            return list(arguments)
        return Programs(Path(self.address).parent, self.directory, Path(_ROOT)).command(*arguments)

    def is_ready(self) -> bool:
        """Whether it answers to ctr."""
        probe = self.program("ctr", "--address", self.address, "version")
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0

    def ctr(self, *arguments: str, stdin: IO[bytes] | None = None, seconds: float = _RUN) -> str:
        """Run Debian's `ctr` against it and return what it prints.

        Raises:
            RuntimeError: with ctr's own words.
        """
        command = self._command(*arguments)
        done = subprocess.run(
            command, stdin=stdin or subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def run_container(self, image: str, *command: str, snapshotter: str = snapshotter) -> str:
        """Start a container from an image that is here (`ctr run` never pulls); return what it printed.

        The one of 1.6 may hang up before it has read what a container printed that has ended: then it is run again.
        """
        runs = (self.ctr(*self._run(image, *command, snapshotter=snapshotter)) for _ in range(_RUNS))
        return next(filter(None, runs), "")

    def container_lines(self, image: str) -> Iterator[str]:
        """Start a container likewise; give each line that it prints as soon as it does."""
        for _ in range(_RUNS):
            lines = self._lines(image)
            if first := next(lines, ""):
                yield first
                yield from lines
                break

    def _lines(self, image: str) -> Iterator[str]:
        command = self._command(*self._run(image))
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as running:
            yield from running.stdout or ()

    def _command(self, *arguments: str) -> list[str]:
        return self.program("ctr", "--address", self.address, "--namespace", self.namespace, *arguments)

    def _run(self, image: str, *command: str, snapshotter: str = snapshotter) -> list[str]:
        places = ["--runc-root", str(self.directory / "runc"), "--fifo-dir", str(self.directory / "fifo")]
        return ["run", "--rm", "--snapshotter", snapshotter, *places, image, f"rig-{uuid.uuid4().hex}", *command]

    def import_layout(self, layout: Path, base_name: str) -> None:
        """Import an OCI image layout; its tags become `<base_name>:<tag>`."""
        archive = subprocess.Popen(["tar", "--create", "--directory", str(layout), "."], stdout=subprocess.PIPE)
        with archive:
            options = ["--all-platforms", "--no-unpack", "--base-name", base_name]
            self.ctr("images", "import", *options, "-", stdin=archive.stdout)

    def collect_garbage(self) -> None:
        """Let it take away everything that nothing refers to, and return when it has."""
        lease = f"rig-{uuid.uuid4().hex}"
        self.ctr("leases", "create", "--id", lease)
        self.ctr("leases", "delete", "--sync", lease)

    def contents(self) -> set[str]:
        """The digests in the content store."""
        return set(self.ctr("content", "ls", "--quiet").split())

    def content(self, digest: str) -> bytes:
        """The bytes of a blob, read from the disk of the content store."""
        return self.blob(digest).read_bytes()

    def damage(self, digest: str) -> None:
        """Change the first bytes of a blob on the disk, behind its back."""
        path = self.blob(digest)
        path.write_bytes(b"damaged" + path.read_bytes()[7:])

    def blob(self, digest: str) -> Path:
        """The file of a blob in the content store."""
        algorithm, _, encoded = digest.partition(":")
        return self.store / "blobs" / algorithm / encoded

    @property
    def store(self) -> Path:
        """Where the content plugin keeps everything."""
        return self.directory / "root/io.containerd.content.v1.content"

    @property
    def spool(self) -> Path:
        """Where a daemon keeps unfinished uploads that it imports directly."""
        return self.directory / "root/registry-mirror" / self.namespace

    def ingests(self) -> set[str]:
        """The refs of the writes that are not finished, in containerd and in the spool beside it."""
        spooled = self.spool.iterdir() if self.spool.exists() else []
        return {*_column(self.ctr("content", "active"), 0), *(unquote(file.name) for file in spooled)}

    def leases(self) -> set[str]:
        """The ids of the leases."""
        return set(self.ctr("leases", "ls", "--quiet").split())

    def images(self) -> dict[str, str]:
        """The image records: name → digest."""
        listing = self.ctr("images", "ls")
        return dict(zip(_column(listing, 0), _column(listing, 2), strict=True))

    def snapshots(self) -> set[str]:
        """The keys of the snapshots."""
        return set(_column(self.ctr("snapshots", "--snapshotter", self.snapshotter, "ls"), 0))

    def close(self) -> None:
        """Stop it, end the shims and containers that outlive it by design, and unmount what they left.

        A stream processor that outlives it ends when `halt` is gone.
        """
        self.halt.unlink(missing_ok=True)
        super().close()
        for shim in self._shims():
            for process in _family(shim):
                with suppress(psutil.NoSuchProcess):  # it has ended by itself
                    process.kill()
                    process.wait()
        for mount in self._mounts():
            subprocess.run(["umount", "--lazy", mount], check=True)

    def _shims(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or [""]
            if "containerd-shim" in command[0] and self.address in command:
                yield process

    def _mounts(self) -> list[str]:
        """The mounts under our directory, innermost first."""
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return [mount for mount in reversed(mounts) if Path(mount).is_relative_to(self.directory)]


def _family(shim: psutil.Process) -> Sequence[psutil.Process]:
    """A shim and what runs below it; nobody, when it has ended by itself."""
    try:
        return [*shim.children(recursive=True), shim]
    except psutil.NoSuchProcess:
        return []


def _column(listing: str, number: int) -> list[str]:
    """One column of a listing of ctr, without its heading."""
    return [line.split()[number] for line in listing.splitlines()[1:]]
