"""A private dockerd with a containerd of its own, and the docker client with its two builders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.rig.client import OTHER_ARCHITECTURE, Client, Image, digest_in
from tests.rig.images import ARCHITECTURE, Compression
from tests.rig.process import Process
from tests.rig.programs import Programs
from tests.rig.web import Login

Builder = Literal["classic", "buildkit"]

_CONTAINERFILE = b"""
FROM scratch
COPY busybox /bin/busybox
COPY marker /marker
CMD ["/bin/busybox", "cat", "/marker"]
"""


class Dockerd(Process):
    """Debian's dockerd without any network; it sees no containerd of the host's, so it starts its own.

    It speaks plain HTTP to the `insecure` registries, if they speak no HTTPS.
    """

    name = "dockerd"

    def __init__(self, programs: Programs, insecure: Sequence[str] = ("127.0.0.0/8",)) -> None:
        super().__init__(programs.state)
        self._insecure = [*insecure]
        self.programs = programs
        self.address = f"unix://{self.directory}/docker.sock"
        self._config = self.directory / "daemon.json"
        self._config.write_text(json.dumps(self._settings()))

    def _settings(self) -> dict[str, object]:
        return {
            "data-root": str(self.directory / "data"),
            "exec-root": str(self.directory / "exec"),
            "pidfile": str(self.directory / "dockerd.pid"),
            "hosts": [self.address],
            "storage-driver": "vfs",  # the one that works on any file system
            "bridge": "none",
            "iptables": False,
            "ip-masq": False,
            "insecure-registries": self._insecure,
            "log-level": "warn",
        }

    def command(self) -> list[str]:
        """Start it on its own configuration."""
        return self.programs.command("dockerd", "--config-file", str(self._config))

    def is_ready(self) -> bool:
        """Whether it answers to its client."""
        try:
            self.docker("version")
        except RuntimeError:
            return False
        return True

    def docker(self, *arguments: str, buildkit: bool = False, said: str = "") -> str:
        """Run the docker client against it, have it read what is `said`, and return what it prints.

        Raises:
            RuntimeError: with docker's own words.
        """
        env = {"DOCKER_HOST": self.address, "DOCKER_BUILDKIT": str(int(buildkit))}
        return self.programs.run("docker", *arguments, env=env, said=said)


def trust(etc: Path, host: str, ca: Path) -> None:
    """Have every dockerd that sees this `etc` take a registry's certificate of some authority."""
    certificates = etc / "docker" / "certs.d" / host
    certificates.mkdir(parents=True, exist_ok=True)
    (certificates / "ca.crt").write_bytes(ca.read_bytes())


class Docker(Client):
    """`docker build`, `docker push`, `docker pull`."""

    program = "docker"

    def __init__(self, dockerd: Dockerd, programs: Programs, builder: Builder) -> None:
        super().__init__(programs)
        self._dockerd = dockerd
        self._builder = builder

    def log_in(self, host: str, login: Login) -> None:
        """Have dockerd check the password, and the client keep it."""
        self._dockerd.docker("login", "--username", login.username, "--password-stdin", host, said=login.password)

    def make(self, marker: str, compression: Compression = "gzip") -> Image:
        """Build it."""
        context = self.fresh()
        context.mkdir()
        busybox = Path("/bin/busybox").read_bytes()
        for name, content in {"Dockerfile": _CONTAINERFILE, "busybox": busybox, "marker": marker.encode()}.items():
            (context / name).write_bytes(content)
        (context / "busybox").chmod(0o755)
        image = f"{self._builder}:{marker}"
        self._dockerd.docker("build", "--tag", image, str(context), buildkit=self._builder == "buildkit")
        return Image(image, compression)

    def push(self, image: Image, reference: str) -> str:
        """Push it under the name of the reference."""
        self._dockerd.docker("tag", image.name, reference)
        return digest_in(self._dockerd.docker("push", reference))

    def pull(self, reference: str) -> str:
        """Remove every image and what the builders keep, and pull."""
        self._dockerd.docker("system", "prune", "--all", "--force")
        return digest_in(self._dockerd.docker("pull", reference))

    def copy(self, source: str, target: str) -> None:
        """Push the pulled image under its other name."""
        self.push(Image(source), target)

    def push_index(self, marker: str, reference: str) -> str:
        """Push two images, one of which passes for another platform's, and a list of both."""
        parts = {platform: f"{reference}-{platform}" for platform in (ARCHITECTURE, OTHER_ARCHITECTURE)}
        for platform, part in parts.items():
            self.push(self.make(f"{marker}-{platform}"), part)
        self._dockerd.docker("manifest", "create", "--insecure", reference, *parts.values())
        other = ["--arch", OTHER_ARCHITECTURE, reference, parts[OTHER_ARCHITECTURE]]
        self._dockerd.docker("manifest", "annotate", *other)
        return digest_in(self._dockerd.docker("manifest", "push", "--insecure", reference))
