"""What the use cases need from the outside, as Protocols; the rooms around `core` implement them."""

from mirror.core.ports.journal import OLDEST, Grants, Jobs, Rule, Transfers, UploadRow, Uploads
from mirror.core.ports.store import Content, Extraction, Image, Images, Ingest, Leases, Snapshots
from mirror.core.ports.time import Clock
from mirror.core.ports.upstream import Transfer, Upstream

__all__ = [
    "OLDEST",
    "Clock",
    "Content",
    "Extraction",
    "Grants",
    "Image",
    "Images",
    "Ingest",
    "Jobs",
    "Leases",
    "Rule",
    "Snapshots",
    "Transfer",
    "Transfers",
    "UploadRow",
    "Uploads",
    "Upstream",
]
