"""Where in a trace something is, and what spans say of it.

Names of attributes are OpenTelemetry's where it has one ("Semantic Conventions"), else ours.
"""

from dataclasses import dataclass

IMAGE = "container.image.name"
MANIFEST = "oci.manifest.digest"
BLOB = "registry_mirror.blob.digest"
SIZE = "registry_mirror.blob.size"
JOB = "registry_mirror.job"
ATTEMPT = "registry_mirror.attempt"
STATE = "registry_mirror.state"
RESULT = "registry_mirror.result"


@dataclass(frozen=True, slots=True)
class Trace:
    """A span of a trace, as others are told of it: the values of two headers.

    Source: W3C Trace Context, "traceparent" and "tracestate".
    """

    parent: str
    state: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Both headers, as gRPC has them too; the second only where it says anything."""
        return {"traceparent": self.parent, **({"tracestate": self.state} if self.state else {})}
