"""containerd as a client: `ctr`, which reaches the daemon by way of a `hosts.toml`."""

import tarfile
from pathlib import Path

from tests.rig import toml
from tests.rig.client import Client, Image, image_layout, index_layout
from tests.rig.containerd import Containerd
from tests.rig.images import Compression, Layout
from tests.rig.programs import Programs
from tests.rig.web import Login


class ClientContainerd(Containerd):
    """A builder's containerd, of whatever version there is to test with."""

    def __init__(self, programs: Programs) -> None:
        super().__init__(programs.state)
        self.programs = programs

    def program(self, *arguments: str) -> list[str]:
        """Run everything in its room."""
        return self.programs.command(*arguments)


class Ctr(Client):
    """Knows images by the name of their upstream, and goes to `mirror` for them instead, if there is one."""

    program = "ctr"
    compressions = ("gzip", "zstd", "none")
    mounts_config = True

    def __init__(
        self, containerd: ClientContainerd, programs: Programs, registry: str, mirror: str = "", ca: Path | None = None
    ) -> None:
        super().__init__(programs, ca)
        self._login: list[str] = []
        self._containerd = containerd
        self._registry = registry
        self._hosts = programs.state / "hosts"
        self._hosts.mkdir()
        if mirror:
            self._write_hosts(self._hosts / registry, mirror)

    def _write_hosts(self, directory: Path, mirror: str) -> None:
        directory.mkdir()
        trusted = {"ca": str(self.ca)} if self.ca else {}
        settings = {"host": {mirror: {"capabilities": ["pull", "resolve", "push"], **trusted}}}
        (directory / "hosts.toml").write_text(f'server = "https://{self._registry}"\n{toml.dump(settings)}\n')

    def log_in(self, _: str, login: Login) -> None:
        """Say it at each command; where no terminal is, it takes a password in no other way."""
        self._login = ["--user", f"{login.username}:{login.password}"]

    def make(self, marker: str, compression: Compression = "gzip") -> Image:
        """Import such an image."""
        return Image(self._import(image_layout(self.fresh(), marker, compression)), compression)

    def push(self, image: Image, reference: str) -> str:
        """Push it under its upstream's name."""
        name = self._named(reference)
        self._ctr("images", "tag", "--force", image.name, name)
        self._ctr("images", "push", "--hosts-dir", str(self._hosts), *self._login, name)
        return self._containerd.images()[name]

    def pull(self, reference: str) -> str:
        """Remove every image with all it had, and pull."""
        self._ctr("images", "rm", "--sync", *self._containerd.images())
        self._ctr("images", "pull", "--hosts-dir", str(self._hosts), *self._login, self._named(reference))
        return self._containerd.images()[self._named(reference)]

    def copy(self, source: str, target: str) -> None:
        """Push the pulled image under its other name."""
        self.push(Image(self._named(source)), target)

    def push_index(self, marker: str, reference: str) -> str:
        """Import an index and push it with all its platforms."""
        return self.push(Image(self._import(index_layout(self.fresh(), marker))), reference)

    def _import(self, layout: Layout) -> str:
        archive = self.fresh()
        with tarfile.open(archive, "w") as tar:
            tar.add(layout.directory, ".")
        name = f"example.com/{archive.name}"
        self._ctr("images", "import", "--all-platforms", "--no-unpack", "--base-name", name, str(archive))
        return f"{name}:{layout.tag}"

    def _named(self, reference: str) -> str:
        return f"{self._registry}/{reference.partition('/')[2]}"

    def _ctr(self, *arguments: str) -> str:
        return self.programs.run("ctr", "--address", self._containerd.address, *arguments)
