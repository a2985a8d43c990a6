"""What is asked of a manifest before its image is made."""

from pathlib import Path

import msgspec

from mirror.config.kinds import Bytes, Count, Seconds, Section, Text


class Verify(Section, frozen=True):
    """What pushed manifests must be like, and who is asked about each of them: a `command` or a service on a `socket`.

    What they are asked and answer is in docs/api.md.
    """

    media_types: frozenset[Text] = frozenset()
    """The media types that manifests may have; empty is any."""
    blob_media_types: frozenset[Text] = frozenset()
    """The media types that configs and layers may have; empty is any."""
    layers: Count = 0
    """How many layers an image may have; 0 is no limit."""
    layer_bytes: Bytes = 0
    """How large each layer may be; 0 is no limit."""
    image_bytes: Bytes = 0
    """How large config and layers may be together; 0 is no limit."""
    annotations: dict[Text, str] = msgspec.field(default_factory=dict)
    """The annotations that must be there, with their values; an empty value is any.

    Example: { "org.example.team" = "", "org.example.reviewed" = "yes" }
    """
    command: tuple[Text, ...] = ()
    """A program, by its absolute path, with its arguments; its exit status is the answer.

    Example: ["/usr/local/bin/verify-image", "--strict"]
    """
    socket: Path | None = None
    """The unix socket of a service that is asked instead.

    Example: "/run/verify-image.sock"
    """
    timeout: Seconds = 10.0
    """How long an answer may take; without one the push is refused for now."""

    def __post_init__(self) -> None:
        if self.command and self.socket:
            raise ValueError("command and socket exclude each other")
        if self.command and not self.command[0].startswith("/"):
            raise ValueError("command must begin with an absolute path")
