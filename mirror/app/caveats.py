"""Settings that are allowed, and hardly meant."""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from yarl import URL

from mirror import config
from mirror.config.problems import Problem
from mirror.config.shape import leaves, metas

_TINY = 64 * 1024
_FORGOTTEN = tuple(map(Path, ("/dev/shm", "/run", "/tmp", "/var/tmp")))  # noqa: S108 - to keep off them


def caveats(settings: config.Settings) -> list[Problem]:
    """What an operator would want to be asked about."""
    every = (_upstreams, _listeners, _nobody, _rules, _tenants, _amounts, _times, _paths)
    return [Problem(path, reason, advice, is_warning=True) for each in every for path, reason, advice in each(settings)]


_Caveats = Iterator[tuple[tuple[str, ...], str, str]]


def _upstreams(settings: config.Settings) -> _Caveats:
    for name, upstream in settings.upstreams.items():
        path, url = ("upstreams", name), URL(upstream.url)
        if "/" in name or name != name.lower():
            yield (
                path,
                "no image name begins like that",
                "Name the upstream by its host and port, as image names have it.",
            )
        if url.scheme == "http" and not _is_here(url.host or ""):
            secret = upstream.username or upstream.token_file or upstream.docker_config
            what = "its credentials and all images" if secret else "all images"
            yield (
                (*path, "url"),
                f"{what} go over the network as they are",
                "Use https, with ca_file if it has an own CA.",
            )


def _listeners(settings: config.Settings) -> _Caveats:
    for name, listener in settings.listeners.items():
        if listener.socket or _is_here(listener.address[0]):
            continue
        path = ("listeners", name, "listen")
        host = listener.address[0]
        if settings.is_open and not _is_private(host):
            advice = "Listen on 127.0.0.1 or a network of the builders alone, or set up [identity] and rules."
            yield path, f"whoever reaches {host} may push and pull anything", advice
        shown = sorted(settings.kinds(listener) & {"basic", "token", "jwt"})
        if shown and not listener.tls:
            yield path, f"what callers show there ({', '.join(shown)}) can be read on its way", "Give it tls."


def _nobody(settings: config.Settings) -> _Caveats:
    if not settings.is_open and not settings.rules:
        advice = "Add a rule, such as [rules.own] with what the callers may do."
        yield ("rules",), "callers are told apart, and without a rule none of them may do anything", advice


def _rules(settings: config.Settings) -> _Caveats:
    for name, rule in settings.rules.items():
        somebody = not rule.tenants and not rule.principals and bool(_kinds(settings))
        tenants = any(_has_members(settings, tenant) for tenant in rule.tenants)
        named = any(_could_be(settings, principal) for principal in rule.principals)
        if not (somebody or tenants or named):
            advice = "Set up the proof in [identity] that tells who they are, or give a listener their tenant."
            yield ("rules", name), "it is for nobody who could come", advice


def _tenants(settings: config.Settings) -> _Caveats:
    for principal in settings.identity.tenants:
        if not _could_be(settings, principal):
            kinds = ", ".join(sorted(_kinds(settings))) or "none"
            advice = f"Write kind:name; the kinds of proof that count at a listener are: {kinds}."
            yield ("identity", "tenants", principal), "nobody can be that", advice


def _kinds(settings: config.Settings) -> frozenset[str]:
    """The kinds of principals there can be, whoever is not known aside."""
    told: frozenset[str] = frozenset().union(*map(settings.kinds, settings.listeners.values()))
    return told | {"listener" for listener in settings.listeners.values() if listener.tenant}


def _could_be(settings: config.Settings, pattern: str) -> bool:
    """Whether a principal can have such a name, or one that begins like that."""
    begins = pattern.removesuffix("*")
    if begins != pattern and any(f"{kind}:".startswith(begins) for kind in (*_kinds(settings), "anonymous")):
        return True
    return pattern == "anonymous" or begins.partition(":")[0] in _kinds(settings)


def _has_members(settings: config.Settings, tenant: str) -> bool:
    identity = settings.identity
    if (identity.jwt and identity.jwt.tenant_claim) or identity.certificate_tenant:
        return True  # others say whose a caller is
    known = {*identity.networks.values(), *identity.tenants.values()}
    known |= {listener.tenant for listener in settings.listeners.values() if listener.tenant}
    return bool(known) if tenant == "*" else tenant in known


def _amounts(settings: config.Settings) -> _Caveats:
    for leaf in leaves(settings):
        unit = leaf.key.extra.get("unit", "")
        has_no_limit = any(meta.ge == 0 and meta.le is None for meta in metas(leaf.key.hint))
        if unit.startswith("bytes") and has_no_limit and leaf.value and leaf.value < _TINY:
            yield leaf.path, f"{leaf.value} {unit} is next to nothing", "It counts in bytes: 20 MB are 20_000_000."


def _times(settings: config.Settings) -> _Caveats:
    replication = settings.replication
    if replication.backoff_first > replication.backoff_max:
        advice = "Set backoff_first to less."
        yield ("replication", "backoff_first"), "is more than backoff_max, which counts", advice


def _paths(settings: config.Settings) -> _Caveats:
    journal = settings.journal.path
    if any(journal.is_relative_to(each) for each in _FORGOTTEN):
        advice = "Keep it below /var/lib: it is what was acknowledged and is not upstream yet."
        yield ("journal", "path"), f"{journal.parent} is emptied when the host starts, or before", advice
    command = settings.verify.command
    if command and not os.access(command[0], os.X_OK):
        yield ("verify", "command"), f"{command[0]} cannot be run, so that nothing can be pushed", "Correct its path."


def _is_here(host: str) -> bool:
    """Whether a name or an address is this host's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_private(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return True  # of a name it is not known
    return address.is_private and not address.is_unspecified
