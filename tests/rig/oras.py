"""oras: artifacts that are no images, by its Python library and by its command line (which Debian 12 does not have)."""

import random
from pathlib import Path
from typing import Any

import oras.oci  # type: ignore[import-untyped]  # it has annotations, but no marker that says so
from oras.provider import Registry  # type: ignore[import-untyped]  # the same

from tests.rig.client import Client, Image, digest_in
from tests.rig.images import Compression
from tests.rig.programs import Programs
from tests.rig.wire import digest_of

ARTIFACT_TYPE = "application/vnd.example.artifact"
_CREATED = "org.opencontainers.image.created=2020-01-01T00:00:00Z"
_CHUNK = 200_000
_SIZE = 3 * _CHUNK + 1


class _Oras(Client):
    """Its image is a file of noise."""

    program = "oras"
    makes_indexes = False

    def make(self, marker: str, compression: Compression = "gzip") -> Image:
        """A file that no other marker has."""
        file = self.fresh()
        file.write_bytes(random.Random(marker).randbytes(_SIZE))  # noqa: S311 - the same in each run
        return Image(str(file), compression)


class OrasLibrary(_Oras):
    """Pushes files in chunks, each with its `Content-Range`."""

    mounts = False

    def __init__(self, programs: Programs, host: str) -> None:
        super().__init__(programs)
        self._registry = Registry(host, insecure=True)

    @property
    def is_installed(self) -> bool:
        """It is a part of the suite, not of a Debian."""
        return True

    def push(self, image: Image, reference: str) -> str:
        """Push the file, an empty config, and a manifest of our own artifact type."""
        layer = oras.oci.NewLayer(image.name, media_type="application/octet-stream")
        config, _ = oras.oci.ManifestConfig()
        empty = self.fresh()
        empty.write_bytes(b"{}")
        manifest: dict[str, Any] = oras.oci.NewManifest()
        manifest |= {"artifactType": ARTIFACT_TYPE, "config": config, "layers": [layer]}
        for path, blob in ((image.name, layer), (str(empty), config)):
            answer = self._registry.upload_blob(path, reference, blob, do_chunked=True, chunk_size=_CHUNK)
            answer.raise_for_status()
        return self._digest(self._registry.upload_manifest(manifest, self._registry.get_container(reference)))

    def pull(self, reference: str) -> str:
        """Pull the files, and ask for the manifest once more for its digest."""
        self._registry.pull(reference, outdir=str(self.fresh()))
        container = self._registry.get_container(reference)
        answer = self._registry.do_request(f"http://{container.manifest_url()}", "GET")
        assert digest_of(answer.content) == self._digest(answer)
        return self._digest(answer)

    def copy(self, source: str, target: str) -> None:
        """It has no such thing."""
        raise NotImplementedError(f"the library cannot copy {source} to {target}")

    @staticmethod
    def _digest(answer: Any) -> str:  # noqa: ANN401 - its class is of an untyped library
        answer.raise_for_status()
        return str(answer.headers["Docker-Content-Digest"])


class OrasCommand(_Oras):
    """Pushes files whole."""

    mounts_config = True

    def push(self, image: Image, reference: str) -> str:
        """Push the file as an artifact of our own type; the time is fixed, or each push would make another manifest."""
        file = f"{Path(image.name).name}:application/octet-stream"
        what = ["--artifact-type", ARTIFACT_TYPE, "--annotation", _CREATED]
        return self._run("push", "--plain-http", *what, reference, file)

    def pull(self, reference: str) -> str:
        """Pull the files into an empty directory."""
        return self._run("pull", "--plain-http", "--output", str(self.fresh()), reference)

    def copy(self, source: str, target: str) -> None:
        """Copy from registry to registry, which both are ours."""
        self._run("copy", "--from-plain-http", "--to-plain-http", source, target)

    def _run(self, *arguments: str) -> str:
        return digest_in(self.programs.run("oras", *arguments))
