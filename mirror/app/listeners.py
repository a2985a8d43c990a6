"""From the settings to the listeners: where they are, what they are secured with, and how they tell who is calling."""

import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace

from mirror import config
from mirror.core.access import ANONYMOUS, Policy, Principal, Rule
from mirror.core.fairness import Meter
from mirror.core.ports import Clock
from mirror.http.challenge import Challenge
from mirror.http.connections import Connections, Patience
from mirror.http.identify import Door
from mirror.http.tls import Latest, ServerTls
from mirror.identity.caller import Bearers
from mirror.identity.certificates import Certificates
from mirror.identity.htpasswd import Htpasswd
from mirror.identity.identification import Identification
from mirror.identity.issuer import SERVICE, Issuer
from mirror.identity.jwt import Expected, JwtVerifier
from mirror.identity.networks import Networks
from mirror.identity.tokens import TokenList
from mirror.runtime.watched import UnusableFileError

_LOOK_EVERY = 5.0
_OPERATOR = Principal("operator")


@dataclass(slots=True)
class Listener:
    """One place that builders push to; door and certificate change with the settings."""

    name: str
    settings: config.Listener
    door: Door
    tls: ServerTls | None

    def context(self) -> ssl.SSLContext | None:
        """What to listen with: each connection begins with what counts then."""
        return Latest(self._current) if self.tls else None

    def _current(self) -> ssl.SSLContext:
        if self.tls is None:
            raise RuntimeError("TLS neither comes nor goes while it listens")
        return self.tls.current


class Listeners:
    """All listeners. Those that tell callers apart by the same kind of proof share what it takes.

    Raises SettingsError when a file that the settings name cannot be used.
    """

    def __init__(self, settings: config.Settings, clock: Clock) -> None:
        self._clock = clock
        self._settings = settings
        self._proofs = Proofs(settings.identity, clock)
        http, callers = settings.http, settings.callers
        self.connections = Connections(clock, _patience(http), most=http.connections, each=callers.connections)
        self.meter = Meter(clock, callers.requests, callers.burst)
        self.all = [
            Listener(name, own, _door(name, settings, self._proofs), server_tls(name, own.tls))
            for name, own in settings.listeners.items()
        ]
        self.all.append(_operators(settings.admin))

    def tasks(self) -> Mapping[str, Callable[[], Coroutine[None, None, None]]]:
        """What has to run beside them, by names."""
        return {"connections": self.connections.watch, "certificates": self._watch_certificates}

    def change(self, settings: config.Settings) -> Callable[[], None]:
        """Get ready for other settings of the same listeners; what is returned goes over to them.

        Raises SettingsError when a file that they name cannot be used.
        """
        is_same = settings.identity == self._settings.identity
        proofs = self._proofs if is_same else Proofs(settings.identity, self._clock)
        changes = [self._changed(each, settings, proofs) for each in self.all if each.name in settings.listeners]

        def apply() -> None:
            http, callers = settings.http, settings.callers
            for listener, door, tls in changes:
                listener.door, listener.tls = door, tls
            self.meter.rate, self.meter.burst = callers.requests, callers.burst
            self.connections.limit(_patience(http), most=http.connections, each=callers.connections)
            self._settings, self._proofs = settings, proofs

        return apply

    def _changed(
        self, listener: Listener, settings: config.Settings, proofs: "Proofs"
    ) -> tuple[Listener, Door, ServerTls | None]:
        """A listener with its new door and certificate.

        Where callers are told apart as before, the tokens that they got stay good: a push may be under way with one.
        """
        name, before = listener.name, self._settings
        own, was = settings.listeners[name], before.listeners[name]
        is_same = proofs is self._proofs and settings.kinds(own) == before.kinds(was) and own.tenant == was.tenant
        door = replace(listener.door, policy=_policy(settings)) if is_same else _door(name, settings, proofs)
        return listener, door, listener.tls if own.tls == was.tls else server_tls(name, own.tls)

    async def _watch_certificates(self) -> None:
        """Load what is new, for as long as the daemon runs."""
        while True:
            await self._clock.sleep(_LOOK_EVERY)
            for listener in self.all:
                if listener.tls:
                    listener.tls.refresh()


def _door(name: str, settings: config.Settings, proofs: "Proofs") -> Door:
    own = settings.listeners[name]
    kinds = settings.kinds(own)
    issuer = proofs.issuer(kinds)
    identification = proofs.identification(kinds, issuer, _otherwise(name, own))
    jwt = settings.identity.jwt if "jwt" in kinds else None
    challenge = Challenge(
        takes_credentials=identification.takes_credentials,
        issues=issuer is not None,
        realm=jwt.realm if jwt else None,
        service=(jwt.service or jwt.audience) if jwt and not issuer else SERVICE,
    )
    return Door(identification, challenge, _policy(settings), issuer)


def _operators(settings: config.Admin) -> Listener:
    """Where operators push to, who may push anything: whoever gets at containerd and the journal can do that anyway."""
    identification = Identification(otherwise=_OPERATOR)
    challenge = Challenge(takes_credentials=False)
    listener = config.Listener(listen=f"unix:{settings.push_socket}", group=settings.group)
    return Listener("operators", listener, Door(identification, challenge, Policy(None)), None)


def _patience(http: config.Http) -> Patience:
    return Patience(head=http.head, keep=http.keep, idle=http.idle, total=http.total)


class Proofs:
    """The kinds of proof that are set up. Raises SettingsError when a file of theirs cannot be used."""

    def __init__(self, identity: config.Identity, clock: Clock) -> None:
        self._identity = identity
        self._networks = Networks(identity.networks)
        self._logins = Htpasswd(identity.htpasswd, clock) if identity.htpasswd else None
        self._tokens = TokenList(identity.tokens) if identity.tokens else None
        self._jwt = _verifier(identity.jwt, clock) if identity.jwt else None
        self._clock = clock
        try:
            for proof in (self._logins, self._tokens, self._jwt):
                if proof:
                    proof.check()
        except UnusableFileError as error:
            raise config.SettingsError(f"identity: {error}") from error

    def issuer(self, kinds: frozenset[config.Kind]) -> Issuer | None:
        """What gives tokens to those who show one of these kinds; its tokens are good where it is asked, nowhere else.

        So what counts at one listener does not count at another by way of a token.
        """
        takes_logins = kinds & {"basic", "token"}
        return Issuer(self._clock, self._identity.issue) if self._identity.issue and takes_logins else None

    def identification(
        self, kinds: frozenset[config.Kind], issuer: Issuer | None, otherwise: Principal
    ) -> Identification:
        """How to tell who is calling by some kinds of proof."""
        bearers = list[Bearers]([issuer] if issuer else [])
        if self._tokens and "token" in kinds:
            bearers.append(self._tokens)
        if self._jwt and "jwt" in kinds:
            bearers.append(self._jwt)
        return Identification(
            logins=self._logins if "basic" in kinds else None,
            bearers=bearers,
            certificates=Certificates(self._identity.certificate_tenant) if "certificate" in kinds else None,
            networks=self._networks if "network" in kinds else None,
            tenants=self._identity.tenants,
            otherwise=otherwise,
        )


def _verifier(settings: config.Jwt, clock: Clock) -> JwtVerifier:
    expected = Expected(settings.audience, settings.issuer, settings.tenant_claim, settings.leeway)
    return JwtVerifier(settings.keys, expected, clock)


def _otherwise(name: str, settings: config.Listener) -> Principal:
    return Principal("listener", name, settings.tenant) if settings.tenant else ANONYMOUS


def server_tls(name: str, settings: config.Tls | None) -> ServerTls | None:
    """What secures a listener, None if nothing does. Raises SettingsError when a file of it cannot be used."""
    if settings is None:
        return None
    try:
        return ServerTls(settings.certificate, settings.key, settings.client_ca)
    except (OSError, ValueError) as error:
        raise config.SettingsError(f"listeners.{name}.tls: {error}") from error


def _policy(settings: config.Settings) -> Policy:
    if settings.is_open:
        return Policy(None)
    return Policy({name: _rule(rule) for name, rule in settings.rules.items()})


def _rule(settings: config.Rule) -> Rule:
    return Rule(
        actions=settings.actions,
        tenants=settings.tenants,
        principals=settings.principals,
        registries=settings.registries,
        repositories=settings.repositories,
    )
