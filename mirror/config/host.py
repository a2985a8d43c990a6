"""What the daemon does on its host: containerd, the journal, disks, its end and its log."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mirror.config.kinds import AtOnce, Bytes, Count, Duration, Percent, Seconds, Section, Text
from mirror.oci.platforms import parse_platform

Address = Annotated[str, msgspec.Meta(pattern=r"^https?://[^/?#]")]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
Namespace = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$", max_length=76)]


class Containerd(Section, frozen=True):
    """Which containerd images are imported into, and how they are unpacked there."""

    address: Path = Path("/run/containerd/containerd.sock")
    """Its socket."""
    namespace: Namespace = "default"
    """The namespace of the images; on a Kubernetes node that is `k8s.io`."""
    snapshotter: Text = "overlayfs"
    """The snapshotter that images are unpacked into, by its name in containerd."""
    labels: dict[str, Text] | None = None
    """What every image record is labelled with; if this is not set, nothing, but in `k8s.io` what the kubelet's own
    images have.

    Example: { team = "ours" }
    """
    importer: Literal["auto", "stream", "direct"] = msgspec.field(name="import", default="auto")
    """How blobs get into the content store. `direct`: as files that are linked into it, which takes containerd's own
    policy "shared" and a spool on the store's filesystem; `stream`: through containerd; `auto`: directly where that is
    possible."""

    @property
    def image_labels(self) -> dict[str, str]:
        """What image records are labelled with."""
        if self.labels is None and self.namespace == "k8s.io":
            return {"io.cri-containerd.image": "managed"}
        return dict(self.labels or {})


class Journal(Section, frozen=True):
    """What the daemon must not lose."""

    path: Path = Path("/var/lib/registry-mirror/journal.db")
    """The SQLite file that acknowledged pushes are written to. Its disk is to be one that survives a crash."""


class Unpack(Section, frozen=True):
    """How images are unpacked, so that containers start from them at once."""

    images: AtOnce = 2
    """How many images are unpacked at once."""
    platforms: tuple[str, ...] = ()
    """Of an index, the image for each of these is unpacked; empty is this machine's own.

    Example: ["linux/amd64", "linux/arm64"]
    """

    def __post_init__(self) -> None:
        for platform in self.platforms:
            parse_platform(platform)


class Disk(Section, frozen=True):
    """How full the disks of containerd may get."""

    reserve: Bytes | None = None
    """What is left free: a push that would leave less is refused. If this is not set, that is a twentieth of the disk,
    but no more than 1 GiB.

    Example: 1073741824
    """
    evict_at: Percent = 85
    """How much may be in use before images go that were not used for longest."""
    evict_to: Percent = 80
    """How much may still be in use after that."""

    def __post_init__(self) -> None:
        if self.evict_to > self.evict_at:
            raise ValueError("evict_to must not be above evict_at")


class Retention(Section, frozen=True):
    """Which images stay here once they are upstream; 0 is no limit."""

    tags: Count = 0
    """How many tags of each repository stay: those that were pushed last."""
    age: Duration = 0.0
    """How long an image stays after its last use: pushed, pulled or seen in a container."""
    bytes: Bytes = 0
    """How much content stays altogether, each blob counted once."""
    untagged: Seconds = 86400.0
    """How long what no tag leads to stays after its last use. Counts where `tags` is set."""


class Uploads(Section, frozen=True):
    """Uploads that were begun and not finished."""

    max_age: Seconds = 86400.0
    """How long one is kept without a request."""


class Shutdown(Section, frozen=True):
    """What happens after SIGTERM."""

    deadline: Seconds = 20.0
    """How long requests in flight may take to finish. systemd is asked for as much more time."""


class Log(Section, frozen=True):
    """How much is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged: this, and what is worse."""
    format: Literal["auto", "json", "console", "journald"] = "auto"
    """`journald` for systemd's journal, with a field for each key, `json` for programs, `console` for people; `auto` is
    what standard error leads to."""


class Tracing(Section, frozen=True):
    """Which collector is told what is done for each push, as spans of OpenTelemetry. Takes the extra `tracing`."""

    endpoint: Address | None = None
    """Where it takes OTLP over HTTP, without `/v1/traces`; if this is not set, nothing is told.

    Example: "http://127.0.0.1:4318"
    """
    sample: Ratio = 1.0
    """The share of the traces that is told, of those that begin here; of the others their first span says it."""
