"""`make demo`: from push to a running container and on to the upstream, on real parts, with a timeline.

Everything lives in a temporary directory and ends with it; the host's own containerd is not touched.
"""

import hashlib
import json
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from tests.rig.containerd import Containerd
from tests.rig.containers import Buildah
from tests.rig.daemon import Daemon
from tests.rig.programs import Programs
from tests.rig.registry import Registry

_UPSTREAM = "registry.example.com"
_CONTAINERFILE = """\
FROM scratch
COPY --chmod=755 busybox /bin/busybox
COPY greeting /greeting
CMD ["/bin/busybox", "cat", "/greeting"]
"""


class Timeline:
    """Prints each step when it is done: when it began, how long it took, and what it was."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        click.secho("     at    took  step", bold=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Time one step."""
        start = time.monotonic()
        yield
        click.echo(f"{start - self._began:6.2f}s {time.monotonic() - start:6.2f}s  {what}")


class Demo:
    """The parts of the demonstration, on their way up, in use and down again."""

    def __init__(self, directory: Path) -> None:
        self.containerd = Containerd(directory / "containerd")
        self.upstream = Registry(directory / "upstream")
        self.daemon = Daemon(directory / "daemon", self.containerd.address, {_UPSTREAM: self.upstream.url})
        self._buildah = Buildah(Programs(directory, directory / "buildah"))
        self._timeline = Timeline()

    def play(self) -> None:
        """Tell the whole story."""
        greeting = f"hello from {uuid.uuid4()}"
        name = f"{_UPSTREAM}/demo:v1"
        with ExitStack() as running:
            self._start(running)
            digest = self._push(greeting)
            with self._timeline.step(f"ctr run {name}, without any pull"):
                printed = self.containerd.run_container(name).strip()
            _same("what the container prints", printed, greeting)
            with self._timeline.step(f"registry-mirror wait {name} --for replicated"):
                self.daemon.wait(name, "replicated")
            with self._timeline.step(f"compare: {digest} everywhere"):
                self._compare(name, digest)
        click.secho(
            f"{printed!r}: run straight from containerd, and safe upstream. Nothing is left running.", fg="green"
        )

    def _start(self, running: ExitStack) -> None:
        for part in (self.containerd, self.upstream, self.daemon):
            with self._timeline.step(f"start {part.name}"):
                running.enter_context(part)

    def _push(self, greeting: str) -> str:
        files = {"busybox": Path("/bin/busybox").read_bytes(), "greeting": greeting.encode()}
        with self._timeline.step("buildah build, FROM scratch"):
            image = self._buildah.build("demo", files, _CONTAINERFILE)
        with self._timeline.step(f"buildah push {self.daemon.host}/demo:v1"):
            return self._buildah.push(image, f"{self.daemon.host}/demo:v1")

    def _compare(self, name: str, digest: str) -> None:
        stored = self.upstream.manifest("demo", "v1")
        if stored is None:
            raise RuntimeError("the upstream has no demo:v1")
        _same("containerd's image record", self.containerd.images()[name], digest)
        _same("the upstream's tag", stored.digest, digest)
        _same("the manifest's bytes", stored.raw, self.containerd.content(digest))
        manifest = json.loads(stored.raw)
        for child in [manifest["config"], *manifest["layers"]]:
            blob = self.upstream.blob("demo", child["digest"]) or b""
            _same("a blob upstream", f"sha256:{hashlib.sha256(blob).hexdigest()}", child["digest"])


def _same(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise RuntimeError(f"{what} is {got!r}, not {wanted!r}")


def main() -> None:
    """Play it; on a failure show the ends of the logs and exit with 1. Asked to end, it still clears up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        demo = Demo(Path(directory))
        try:
            demo.play()
        except RuntimeError as error:
            logs = [part.log_tail() for part in (demo.containerd, demo.upstream, demo.daemon)]
            click.echo("\n".join([*logs, f"The demo failed: {error}"]), err=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
