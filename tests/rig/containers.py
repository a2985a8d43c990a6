"""skopeo, buildah and podman: three programs on one library, which keeps what it has in files."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.rig.client import SYSTEM, Client, Image, image_layout, index_layout
from tests.rig.images import Compression, Layout, MediaName
from tests.rig.web import Login

_FORMATS: Mapping[MediaName, str] = {"oci": "oci", "docker": "v2s2"}


class _WithLogins(Client):
    """What they have in common: a file with logins, and a directory with authorities."""

    @property
    def _logins(self) -> Path:
        return self.programs.state / "logins.json"

    @property
    def _access(self) -> Mapping[str, str]:
        """What they need to get in, as options."""
        logins = {"authfile": str(self._logins)} if self._logins.exists() else {}
        return {**logins, **self._tls}

    @property
    def _tls(self) -> Mapping[str, str]:
        if not self.ca:
            return {"tls-verify": "false"}
        if self.ca == SYSTEM:
            return {}
        certificates = self.programs.state / "certificates"
        certificates.mkdir(exist_ok=True)
        (certificates / "ca.crt").write_bytes(self.ca.read_bytes())
        return {"cert-dir": str(certificates)}

    def log_in(self, host: str, login: Login) -> None:
        """Have the password checked and written to the file."""
        options = _options({"authfile": str(self._logins), **self._tls, "username": login.username})
        self.programs.run(self.program, "login", *options, "--password-stdin", host, said=login.password)


class Skopeo(_WithLogins):
    """Copies from a layout, as it is."""

    program = "skopeo"
    compressions = ("gzip", "zstd", "none")

    def make(self, marker: str, compression: Compression = "gzip") -> Image:
        """A layout with such an image."""
        return Image(f"oci:{image_layout(self.fresh(), marker, compression).directory}", compression)

    def push(self, image: Image, reference: str) -> str:
        """Copy from the layout."""
        return self._copy(image.name, f"docker://{reference}")

    def pull(self, reference: str) -> str:
        """Copy to a new layout."""
        return self._copy(f"docker://{reference}", f"oci:{self.fresh()}:v1")

    def copy(self, source: str, target: str) -> None:
        """Copy from registry to registry, which both are ours."""
        self._copy(f"docker://{source}", f"docker://{target}")

    def push_index(self, marker: str, reference: str) -> str:
        """Copy a layout with an index."""
        return self._copy(f"oci:{index_layout(self.fresh(), marker).directory}", f"docker://{reference}")

    def _copy(self, source: str, target: str) -> str:
        digest = self.fresh()
        access = _options({f"{side}-{name}": value for side in ("src", "dest") for name, value in self._access.items()})
        exact = ["--all", "--preserve-digests", "--digestfile", str(digest)]
        self.programs.run("skopeo", "copy", *exact, *access, source, target)
        return digest.read_text().strip()


class Buildah(_WithLogins):
    """Pushes from its store, where a layer is unpacked: it packs anew at each push."""

    program = "buildah"
    compressions: ClassVar[tuple[Compression, ...]] = ("gzip", "zstd")

    def make(self, marker: str, compression: Compression = "gzip") -> Image:
        """Load such an image from a layout."""
        layout = image_layout(self.fresh(), marker)
        return Image(self._run("pull", "--quiet", _source(layout)).strip(), compression)

    def build(self, name: str, files: Mapping[str, bytes], containerfile: str) -> Image:
        """Build an image from a Containerfile and the files beside it."""
        context = self.fresh()
        context.mkdir()
        for path, content in {"Containerfile": containerfile.encode(), **files}.items():
            (context / path).write_bytes(content)
        self._run("build", "--isolation", "chroot", "--tag", name, str(context))
        return Image(name)

    def push(self, image: Image, reference: str) -> str:
        """Push from the store."""
        kinds = ["--format", _FORMATS[image.media], "--compression-format", image.compression]
        return self._push("push", *kinds, image.name, f"docker://{reference}")

    def pull(self, reference: str) -> str:
        """Empty the store, pull, and look up the digest."""
        self._run("rmi", "--all", "--force")
        self._run("pull", "--quiet", *_options(self._access), f"docker://{reference}")
        return self._run("images", "--digests", "--format", "{{.Digest}}", reference).strip()

    def copy(self, source: str, target: str) -> None:
        """Push the pulled image under its other name."""
        self._push("push", source, f"docker://{target}")

    def push_index(self, marker: str, reference: str) -> str:
        """Make a manifest list of the images in a layout, and push it with them."""
        layout = index_layout(self.fresh(), marker)
        self._run("manifest", "create", marker)
        self._run("manifest", "add", "--all", marker, _source(layout))
        return self._push("manifest", "push", "--all", marker, f"docker://{reference}")

    def _push(self, *arguments: str) -> str:
        digest = self.fresh()
        *verb, source, target = arguments
        self._run(*verb, *_options(self._access), "--digestfile", str(digest), source, target)
        return digest.read_text().strip()

    def _run(self, *arguments: str) -> str:
        places = ["--root", str(self.programs.state / "root"), "--runroot", str(self.programs.state / "run")]
        return self.programs.run(self.program, *places, "--storage-driver", "vfs", *arguments)


class Podman(Buildah):
    """Takes the same words as buildah for all of this."""

    program = "podman"


def _options(values: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _source(layout: Layout) -> str:
    """A layout in the state; its relative path becomes the image's name, which the whole path might not be fit for."""
    return f"oci:{layout.directory.name}:{layout.tag}"
