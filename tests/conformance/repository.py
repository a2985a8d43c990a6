"""One repository under test, the requests that tests make most, and the documents that they push."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.rig import wire
from tests.rig.images import MEDIA
from tests.rig.wire import Answer, Wire, digest_of

OCI = MEDIA["oci"]
CONFIG = b"{}"
CONFIG_TYPE = "application/vnd.example.config"
"""The media type that `image` gives its config."""

MAX_MANIFEST = 4 * 1024 * 1024


@dataclass(frozen=True)
class Repository:
    """A repository that no other test touches."""

    wire: Wire
    name: str

    @property
    def sibling(self) -> "Repository":
        """Another one, below this one."""
        return Repository(self.wire, f"{self.name}/sibling")

    def path(self, below: str) -> str:
        """The path of something in it."""
        return f"/v2/{self.name}/{below}"

    def ask(
        self, method: str, below: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request for something in it."""
        return self.wire.ask(method, self.path(below), body, headers)

    def push_blob(self, data: bytes) -> str:
        """Push a blob; return its digest."""
        return self.wire.push_blob(self.name, data)

    def put(self, reference: str, raw: bytes, media_type: str = OCI.manifest) -> Answer:
        """Put a manifest."""
        return self.wire.push_manifest(self.name, reference, raw, media_type)

    def push(self, raw: bytes, *references: str, media_type: str = OCI.manifest) -> str:
        """Push a manifest and the config of `image` under some tags, else under its digest; return its digest."""
        self.push_blob(CONFIG)
        for reference in references or (digest_of(raw),):
            answer = self.put(reference, raw, media_type)
            assert answer.status == 201, answer
        return digest_of(raw)


def image(**fields: object) -> bytes:
    """An image manifest with a config and no layers, and some more fields."""
    return json.dumps(json.loads(wire.manifest(CONFIG)) | fields).encode()


def index(**fields: object) -> bytes:
    """An image index, empty unless the fields say otherwise."""
    return json.dumps({"schemaVersion": 2, "mediaType": OCI.index, "manifests": []} | fields).encode()


def padded(size: int) -> bytes:
    """An image manifest of that many bytes."""
    return image(padding="x" * (size - len(image(padding=""))))


def descriptor(raw: bytes, media_type: str = OCI.manifest) -> dict[str, object]:
    """How other documents point to a manifest."""
    return {"mediaType": media_type, "digest": digest_of(raw), "size": len(raw)}


def etag(answer: Answer) -> str | None:
    """The entity tag of an answer; servers differ over how they spell the name of the field."""
    fields = {name.lower(): value for name, value in answer.headers.items()}
    return fields.get("etag")


def next_page(answer: Answer) -> str | None:
    """Where the `Link` of an answer leads; None without one."""
    link = answer.headers.get("Link")
    if link is None:
        return None
    target = re.fullmatch(r'<(?P<target>[^>]+)>; rel="next"', link)
    assert target, link
    return target["target"]
