"""What the use cases need from the outside, as Protocols; the rooms around `core` implement them."""

from mirror.core.ports.disk import Disk
from mirror.core.ports.journal import OLDEST, Grant, Grants, Jobs, Push, Rule, Transfers, UploadRow, Uploads, Usage
from mirror.core.ports.store import (
    Blob,
    Change,
    Container,
    Containers,
    Content,
    Events,
    Extraction,
    Image,
    Images,
    Ingest,
    Introspection,
    Leases,
    Replacement,
    Snapshot,
    Snapshots,
    StoreFacts,
)
from mirror.core.ports.time import Clock
from mirror.core.ports.upstream import Transfer, Upstream

__all__ = [
    "OLDEST",
    "Blob",
    "Change",
    "Clock",
    "Container",
    "Containers",
    "Content",
    "Disk",
    "Events",
    "Extraction",
    "Grant",
    "Grants",
    "Image",
    "Images",
    "Ingest",
    "Introspection",
    "Jobs",
    "Leases",
    "Push",
    "Replacement",
    "Rule",
    "Snapshot",
    "Snapshots",
    "StoreFacts",
    "Transfer",
    "Transfers",
    "UploadRow",
    "Uploads",
    "Upstream",
    "Usage",
]
