"""Who is calling, and what callers may do."""

from ipaddress import ip_network
from typing import Annotated, Literal

import msgspec
from yarl import URL

from mirror.config.kinds import SECONDS, Duration, File, SecretFile, Section, Text
from mirror.core.access import Action, check_pattern

Kind = Literal["network", "basic", "token", "jwt", "certificate"]


class Jwt(Section, frozen=True):
    """Tokens of others: of a token server, or a CI that says who its jobs are."""

    keys: File
    """What they are signed with: a JWKS, or one public key in PEM. Read again when it changes.

    Example: "/etc/registry-mirror/jwks.json"
    """
    audience: Text
    """Who they have to be for (`aud`).

    Example: "registry-mirror"
    """
    issuer: Text
    """Who has to have made them (`iss`).

    Example: "https://auth.example.com"
    """
    tenant_claim: Text | None = None
    """The claim that says whose the caller is.

    Example: "tenant"
    """
    leeway: Duration = 60.0
    """By how much the clocks may differ."""
    realm: Text | None = None
    """The URL where clients are sent for such a token.

    Example: "https://auth.example.com/token"
    """
    service: Text | None = None
    """What clients ask for there; if this is not set, the audience.

    Example: "registry-mirror"
    """

    def __post_init__(self) -> None:
        if self.realm is not None and not _is_url(self.realm):
            raise ValueError("realm must be a URL of http or https")


class Identity(Section, frozen=True):
    """How callers are told from each other; without any of it nobody is.

    As soon as anything here (or a listener's `tenant` or `tls.client_ca`) tells callers apart, nobody may do anything
    but what a rule allows.
    """

    networks: dict[str, Text] = msgspec.field(default_factory=dict)
    """Where a caller comes from, and whose that is: networks and their tenants.

    Example: { "fdaa:0:18::/48" = "acme" }
    """
    htpasswd: SecretFile | None = None
    """Users and bcrypt hashes, as `htpasswd -B` writes them. Read again when it changes.

    Example: "/etc/registry-mirror/htpasswd"
    """
    tokens: File | None = None
    """Bearer tokens that you gave out: a line `name:hash` for each, of its SHA-256 as `sha256sum` makes it. Read again
    when it changes.

    Example: "/etc/registry-mirror/tokens"
    """
    tenants: dict[str, Text] = msgspec.field(default_factory=dict)
    """Whose a caller is, by the kind of proof and the name.

    Example: { "basic:alice" = "acme", "token:ci" = "acme" }
    """
    certificate_tenant: Text | None = None
    """The attribute of a client certificate's subject that says whose the caller is.

    Example: "O"
    """
    issue: Annotated[int, msgspec.Meta(ge=60, le=3600, extra=SECONDS)] | None = None
    """Whoever logs in (by `htpasswd` or `tokens`) gets a token that is good for so long; if this is not set, none.

    Example: 300
    """
    jwt: Jwt | None = None

    def __post_init__(self) -> None:
        for network in self.networks:
            ip_network(network)
        if self.issue and not (self.htpasswd or self.tokens):
            raise ValueError("issue needs htpasswd or tokens")

    @property
    def kinds(self) -> frozenset[Kind]:
        """What is set up, certificates aside: those are a matter of the listener."""
        ways: dict[Kind, object] = {
            "network": self.networks,
            "basic": self.htpasswd,
            "token": self.tokens,
            "jwt": self.jwt,
        }
        return frozenset(kind for kind, way in ways.items() if way)


class Rule(Section, frozen=True):
    """What some callers may do; its name is for the log. What no rule allows is refused.

    Without any rule everybody may do everything, unless callers are told apart: then nobody may do anything. A rule
    without `tenants` and `principals` is for everybody who is somebody.
    """

    tenants: frozenset[Text] = frozenset()
    """Whom it is for, by their tenants; `*` is any caller that has one.

    Example: ["*"]
    """
    principals: tuple[Text, ...] = ()
    """Whom it is for, by the kind of proof and the name, or how that begins; `anonymous` is whoever gives no proof.

    Example: ["token:ci-*", "anonymous"]
    """
    registries: frozenset[Text] = frozenset()
    """For which upstreams; empty is all of them.

    Example: ["registry.example.com"]
    """
    repositories: tuple[str, ...] = ("**",)
    """For which repositories: `*` is a part of one component of a path, `**` any number of components, `{tenant}` the
    caller's own tenant."""
    actions: frozenset[Action] = frozenset({Action.PULL, Action.PUSH, Action.STATUS})
    """What is allowed."""

    def __post_init__(self) -> None:
        for pattern in self.repositories:
            check_pattern(pattern)


def _is_url(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and '"' not in text
