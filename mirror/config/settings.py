"""The whole file, and what must fit together across its tables."""

import msgspec

from mirror.config.access import Identity, Kind, Rule
from mirror.config.host import Containerd, Disk, Journal, Log, Retention, Shutdown, Tracing, Unpack, Uploads
from mirror.config.kinds import Section
from mirror.config.listeners import Admin, Callers, Http, Listener, Tenants
from mirror.config.upstreams import Replication, Upstream
from mirror.config.variants import Variants
from mirror.config.verify import Verify


class Settings(Section, frozen=True):
    """The whole file."""

    default_upstream: str
    """The registry that a name stands for when neither `ns=` nor the Host header says one.

    Example: "registry.example.com"
    """
    upstreams: dict[str, Upstream]
    listeners: dict[str, Listener] = msgspec.field(default_factory=lambda: {"builders": Listener()})
    http: Http = Http()
    callers: Callers = Callers()
    tenants: Tenants = Tenants()
    identity: Identity = Identity()
    rules: dict[str, Rule] = msgspec.field(default_factory=dict)
    verify: Verify = Verify()
    admin: Admin = Admin()
    containerd: Containerd = Containerd()
    journal: Journal = Journal()
    replication: Replication = Replication()
    unpack: Unpack = Unpack()
    variants: Variants = Variants()
    disk: Disk = Disk()
    retention: Retention = Retention()
    uploads: Uploads = Uploads()
    shutdown: Shutdown = Shutdown()
    log: Log = Log()
    tracing: Tracing = Tracing()

    def __post_init__(self) -> None:
        if self.default_upstream not in self.upstreams:
            raise ValueError(f"default_upstream {self.default_upstream!r} is not among the upstreams")
        if not self.listeners:
            raise ValueError("listeners is empty")
        if taken := self.listeners.keys() & {"admin", "operators", "page"}:
            raise ValueError(f"listeners.{min(taken)} has the name of a socket that is there anyway")
        for name, listener in self.listeners.items():
            unknown = set(listener.identify or ()) - self.identity.kinds - {"certificate"}
            if unknown or ("certificate" in (listener.identify or ()) and not self._asks_for_certificates(listener)):
                raise ValueError(f"listeners.{name}.identify has a kind that is not set up")
        for name, rule in self.rules.items():
            if not rule.registries <= self.upstreams.keys():
                raise ValueError(f"rules.{name}.registries has one that is not among the upstreams")
        for name, variant in self.variants.rules.items():
            if not variant.registries <= self.upstreams.keys():
                raise ValueError(f"variants.rules.{name}.registries has one that is not among the upstreams")

    def kinds(self, listener: Listener) -> frozenset[Kind]:
        """The kinds of proof that count at a listener."""
        certificate: frozenset[Kind] = frozenset({"certificate"} if self._asks_for_certificates(listener) else ())
        every = self.identity.kinds | certificate
        return every if listener.identify is None else every & set(listener.identify)

    @property
    def is_open(self) -> bool:
        """Whether whoever reaches a listener may do everything."""
        told_apart = any(self.kinds(listener) or listener.tenant for listener in self.listeners.values())
        return not self.rules and not told_apart

    def _asks_for_certificates(self, listener: Listener) -> bool:
        return listener.tls is not None and listener.tls.client_ca is not None
