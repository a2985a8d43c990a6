"""What the use cases need from the outside, as Protocols; the rooms around `core` implement them."""

from mirror.core.ports.journal import OLDEST, Grant, Grants, Jobs, Rule, Transfers, UploadRow, Uploads
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
    "Events",
    "Extraction",
    "Grant",
    "Grants",
    "Image",
    "Images",
    "Ingest",
    "Jobs",
    "Leases",
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
]
