"""Whether everything that was acknowledged is upstream, and nothing is left behind here."""

import json
from collections.abc import Iterator

from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.wire import digest_of
from tests.soak.ledger import Ledger


def unfinished(daemon: Daemon) -> list[str]:
    """The tasks that are pending or running, in words."""
    return _tasks(daemon, "pending", "running")


def parked(daemon: Daemon) -> list[str]:
    """The tasks that need a person, with their reasons: the soak gives no reason for any."""
    return _tasks(daemon, "parked")


def _tasks(daemon: Daemon, *states: str) -> list[str]:
    tasks = [task for task in daemon.status()["tasks"] if task["state"] in states]
    return [f"{task['kind']} of {task['image']}: {task['state']} {task['reason']}" for task in tasks]


def broken(ledger: Ledger, upstream: Registry) -> Iterator[str]:
    """Every promise that the upstream shows to be broken, in words."""
    yield from Comparison(upstream).manifests(ledger)
    for repository, tag, allowed in ledger.tags():
        stored = upstream.manifest(repository, tag)
        if (stored and stored.digest) not in allowed:
            yield f"{repository}:{tag} is {stored and stored.digest}, not one of {allowed}"
    for (repository, subject), expected in ledger.referrers.items():
        if missing := expected - _listed(upstream, repository, subject):
            yield f"{repository}: about {subject} the upstream does not list {missing}"


class Comparison:
    """Compares by digest, each blob of a repository once."""

    def __init__(self, upstream: Registry) -> None:
        self._upstream = upstream
        self._seen: set[tuple[str, str]] = set()

    def manifests(self, ledger: Ledger) -> Iterator[str]:
        """What is missing or different of the manifests and below them."""
        for repository, digest in sorted(ledger.manifests):
            stored = self._upstream.manifest(repository, digest)
            if stored is None or digest_of(stored.raw) != digest:
                yield f"{repository}@{digest} is {'missing' if stored is None else 'another'}"
                continue
            body = json.loads(stored.raw)
            for blob in [body["config"], *body["layers"]] if "config" in body else []:
                yield from self._blob(repository, blob["digest"])

    def _blob(self, repository: str, digest: str) -> Iterator[str]:
        if (repository, digest) in self._seen:
            return
        self._seen.add((repository, digest))
        data = self._upstream.blob(repository, digest)
        if data is None or digest_of(data) != digest:
            yield f"{repository}: blob {digest} is {'missing' if data is None else 'another'}"


def _listed(upstream: Registry, repository: str, subject: str) -> set[str]:
    """The referrers in the fallback tag (distribution-spec, "Referrers tag schema")."""
    stored = upstream.manifest(repository, subject.replace(":", "-"))
    return {entry["digest"] for entry in json.loads(stored.raw)["manifests"]} if stored else set()


def left_behind(containerd: Containerd) -> set[str]:
    """Leases, ingests and half snapshots of ours that nobody will ever end.

    The lease of an upload whose client or daemon died expires by itself, after a day at least, and that of what
    builders were told of after half an hour: that is no leak.
    """
    containerd.collect_garbage()
    leases = {lease for lease in containerd.leases() if lease.startswith("registry-mirror/")}
    return (
        leases - _expiring(containerd)
        | containerd.ingests()
        | {key for key in containerd.snapshots() if key.startswith("extract-")}
    )


def _expiring(containerd: Containerd) -> set[str]:
    lines = containerd.ctr("leases", "ls").splitlines()
    leases = {line.split()[0] for line in lines if "containerd.io/gc.expire=" in line}
    return {lease for lease in leases if lease.startswith(("registry-mirror/upload/", "registry-mirror/seen/"))}
