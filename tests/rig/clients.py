"""Pushes by real clients with ordinary command lines, for tests of something else; `client` is for those of clients."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.rig.containerd import Containerd
from tests.rig.images import Layout

_PUSH = 300.0


def skopeo_push(layout: Layout, reference: str, *options: str) -> None:
    """Push a layout to `host:port/repository:tag`, every platform of it, byte for byte.

    Raises:
        RuntimeError: with skopeo's own words.
    """
    exact = ["--all", "--preserve-digests", "--dest-tls-verify=false", *options]
    _run(["skopeo", "copy", *exact, f"oci:{layout.directory}", f"docker://{reference}"])


def ctr_push(client: Containerd, layout: Layout, reference: str, *options: str) -> None:
    """Push a layout to `host:port/repository:tag` by way of the client's own containerd.

    Raises:
        RuntimeError: with ctr's own words.
    """
    client.import_layout(layout.directory, reference.rpartition(":")[0])
    client.ctr("images", "push", "--plain-http", *options, reference, seconds=_PUSH)


class Buildah:
    """Buildah with its own image store; it needs root, but no user namespace, FUSE or network.

    Like skopeo it remembers, for the whole host, which blobs a registry has: content that was pushed once is not sent
    again, nor compressed in another way.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._store = [
            "--root",
            str(directory / "root"),
            "--runroot",
            str(directory / "run"),
            "--storage-driver",
            "vfs",
        ]

    def build(self, image: str, files: dict[str, bytes], containerfile: str, *options: str) -> None:
        """Build an image from a Containerfile and the files beside it.

        Raises:
            RuntimeError: with buildah's own words.
        """
        context = self._directory / "context"
        context.mkdir(parents=True, exist_ok=True)
        for name, content in {"Containerfile": containerfile.encode(), **files}.items():
            (context / name).write_bytes(content)
        _run(["buildah", *self._store, "build", "--isolation", "chroot", *options, "--tag", image, str(context)])

    def load(self, layout: Layout) -> str:
        """Take an OCI image from its layout into the store; return its ID there.

        The path given becomes the image's name, and the whole path may hold what a name may not.

        Raises:
            RuntimeError: with buildah's own words.
        """
        source = f"oci:{layout.directory.name}:{layout.tag}"
        return _run(["buildah", *self._store, "pull", "--quiet", source], layout.directory.parent).strip()

    def pull(self, reference: str) -> str:
        """Pull `host:port/repository:tag` from a registry; return its ID in the store.

        Raises:
            RuntimeError: with buildah's own words.
        """
        return _run(["buildah", *self._store, "pull", "--quiet", "--tls-verify=false", f"docker://{reference}"]).strip()

    def push(self, image: str, reference: str, *options: str) -> str:
        """Push an image to `host:port/repository:tag`; return the digest that buildah says it has there.

        Raises:
            RuntimeError: with buildah's own words.
        """
        digest = self._directory / "digest"
        exact = ["--tls-verify=false", "--digestfile", str(digest), *options]
        _run(["buildah", *self._store, "push", *exact, image, f"docker://{reference}"])
        return digest.read_text().strip()


def _run(command: Sequence[str], directory: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PUSH,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
