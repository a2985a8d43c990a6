"""How one push goes, request by request, and what of it is acknowledged."""

import json
from collections.abc import Iterator
from typing import Any

from tests.rig.clients import skopeo_push
from tests.rig.daemon import Daemon
from tests.rig.images import MEDIA, Descriptor, Layout
from tests.rig.wire import Answer, Wire, digest_of, finishing
from tests.soak.ledger import Ledger
from tests.soak.plan import Push

_MANIFESTS = frozenset(kind for media in MEDIA.values() for kind in (media.manifest, media.index))
_EMPTY = Descriptor("application/vnd.oci.empty.v1+json", digest_of(b"{}"), 2)
_CHUNKS = 3
_OVERLOADED = 429
_ANY_FAILURE = 500
# What a client may be told when its upload has expired, or when what it saw there has been collected since.
_LOST = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"})


class RefusedError(Exception):
    """An answer after which a client tries again."""


class Builder:
    """Pushes by hand or by skopeo, and tells the ledger what was acknowledged.

    Every push raises RefusedError, OSError, HTTPException or RuntimeError (skopeo) when it did not succeed this time,
    and AssertionError for an answer that no client should ever see.
    """

    def __init__(self, daemon: Daemon, ledger: Ledger) -> None:
        self._daemon = daemon
        self._wire = Wire(daemon.url)
        self._ledger = ledger
        self._pushed: dict[str, Descriptor] = {}

    def push(self, push: Push, layout: Layout) -> None:
        """Push a layout as planned."""
        if push.abandons:
            self._expect(202, "PATCH", self._begin(push.repository), b"never finished")
        if push.image.kind == "artifact":
            self._push_artifact(push, layout)
            return
        if push.way == "skopeo":
            with self._ledger.attempt(push.repository, push.tag, layout.digest):
                skopeo_push(layout, f"{self._daemon.host}/{push.repository}:{push.tag}")
        else:
            self._push_layout(push, layout)
        self._pushed[push.repository] = layout.top

    def _push_layout(self, push: Push, layout: Layout) -> None:
        for child in sorted(layout.children, key=lambda child: child.media_type in _MANIFESTS):
            data = layout.blob(child.digest).read_bytes()
            if child.media_type in _MANIFESTS:
                self._push_manifest(push.repository, child.digest, child.media_type, data)
                self._ledger.acknowledge(push.repository, child.digest)
            else:
                self._push_blob(push, child.digest, data)
        with self._ledger.attempt(push.repository, push.tag, layout.digest):
            self._push_manifest(push.repository, push.tag, layout.top.media_type, layout.manifest)

    def _push_artifact(self, push: Push, layout: Layout) -> None:
        """The layers of a layout as an artifact, about the last image that was pushed to the repository."""
        layers = [child for child in layout.children if "layer" in child.media_type]
        for layer in layers:
            self._push_blob(push, layer.digest, layout.blob(layer.digest).read_bytes())
        self._push_blob(push, _EMPTY.digest, b"{}")
        subject = self._pushed.get(push.repository)
        raw = _artifact(layers, subject)
        self._push_manifest(push.repository, digest_of(raw), MEDIA["oci"].manifest, raw)
        self._ledger.acknowledge(push.repository, digest_of(raw), subject.digest if subject else "")

    def _push_manifest(self, repository: str, reference: str, media_type: str, raw: bytes) -> None:
        path = f"/v2/{repository}/manifests/{reference}"
        self._expect(201, "PUT", path, raw, {"Content-Type": media_type})

    def _push_blob(self, push: Push, digest: str, data: bytes) -> None:
        if self._wire.ask("HEAD", f"/v2/{push.repository}/blobs/{digest}").status == 200:
            return
        if push.way == "post":
            self._expect(201, "POST", f"/v2/{push.repository}/blobs/uploads/?digest={digest}", data)
            return
        answer = self._ask("POST", f"/v2/{push.repository}/blobs/uploads/?mount={digest}&from={push.source}")
        if answer.status == 201:
            return
        location = answer.headers["Location"]
        if push.way == "patch":
            for content_range, chunk in _chunks(data):
                self._expect(202, "PATCH", location, chunk, {"Content-Range": content_range})
            data = b""
        self._expect(201, "PUT", finishing(location, digest), data)

    def _begin(self, repository: str) -> str:
        return self._expect(202, "POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]

    def _expect(self, status: int, *request: Any) -> Answer:  # noqa: ANN401 - what `Wire.ask` takes
        answer = self._ask(*request)
        assert answer.status == status, answer
        return answer

    def _ask(self, *request: Any) -> Answer:  # noqa: ANN401 - what `Wire.ask` takes
        answer = self._wire.ask(*request)
        if answer.status >= _ANY_FAILURE or answer.status == _OVERLOADED or answer.code in _LOST:
            raise RefusedError(f"{request[:2]}: {answer.status} {answer.error}")
        return answer


def _artifact(layers: list[Descriptor], subject: Descriptor | None) -> bytes:
    body = {
        "schemaVersion": 2,
        "mediaType": MEDIA["oci"].manifest,
        "artifactType": "application/vnd.example.soak",
        "config": _EMPTY.json(),
        "layers": [layer.json() for layer in layers],
    }
    return json.dumps(body | ({"subject": subject.json()} if subject else {})).encode()


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The `Content-Range` of each chunk, and its bytes."""
    step = len(data) // _CHUNKS + 1
    for start in range(0, len(data), step):
        chunk = data[start : start + step]
        yield f"{start}-{start + len(chunk) - 1}", chunk
