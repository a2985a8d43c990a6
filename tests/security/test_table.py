"""Every endpoint, asked by everybody, for what is his, what is somebody else's and what there is not."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.rig.daemon import Daemon
from tests.rig.images import MEDIA
from tests.rig.wire import Answer, Wire, digest_of, manifest
from tests.security.conftest import OTHER, Owned, wire_of
from tests.security.people import ACME, GLOBEX, LIMITED, PEOPLE, Person

NEVER_SEEN = digest_of(b"what nobody ever pushed")
CHALLENGE = 'Basic realm="registry-mirror", charset="UTF-8"'
# What differs from one answer to the next, whatever was asked, or goes with the length of what was.
_PASSING = ("Date", "Docker-Upload-UUID", "Location", "Content-Length", "X-Request-Id")


@dataclass(frozen=True)
class Target:
    """What a request is about."""

    repository: str
    reference: str
    blob: str
    upload: str


Endpoint = Callable[[Wire, Target], Answer]


def _endpoint(method: str, path: str, body: bytes | None = None, **headers: str) -> Endpoint:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}

    def ask(wire: Wire, target: Target) -> Answer:
        return wire.ask(method, f"/v2/{target.repository}{path}".format_map(vars(target)), body, sent)

    return ask


ENDPOINTS: Mapping[str, Endpoint] = {
    "HEAD blob": _endpoint("HEAD", "/blobs/{blob}"),
    "GET blob": _endpoint("GET", "/blobs/{blob}"),
    "GET part of a blob": _endpoint("GET", "/blobs/{blob}", Range="bytes=0-3"),
    "GET blob that one has": _endpoint("GET", "/blobs/{blob}", If_None_Match="*"),
    "DELETE blob": _endpoint("DELETE", "/blobs/{blob}"),
    "HEAD manifest": _endpoint("HEAD", "/manifests/{reference}"),
    "GET manifest": _endpoint("GET", "/manifests/{reference}"),
    "PUT manifest": _endpoint("PUT", "/manifests/{reference}", b"{}", Content_Type=MEDIA["oci"].manifest),
    "DELETE manifest": _endpoint("DELETE", "/manifests/{reference}"),
    "GET tags": _endpoint("GET", "/tags/list"),
    "GET referrers": _endpoint("GET", "/referrers/{blob}"),
    "GET status": _endpoint("GET", "/_mirror/status/{reference}"),
    "GET events": _endpoint("GET", "/_mirror/status/{reference}", Accept="text/event-stream"),
    "POST upload": _endpoint("POST", "/blobs/uploads/"),
    "POST whole blob": _endpoint("POST", "/blobs/uploads/?digest={blob}", b""),
    "POST mount": _endpoint("POST", "/blobs/uploads/?mount={blob}&from={repository}"),
    "GET upload": _endpoint("GET", "/blobs/uploads/{upload}"),
    "PATCH upload": _endpoint("PATCH", "/blobs/uploads/{upload}", b"more"),
    "PUT upload": _endpoint("PUT", "/blobs/uploads/{upload}?digest={blob}", b""),
    "DELETE upload": _endpoint("DELETE", "/blobs/uploads/{upload}"),
}
"""All that there is below a repository."""

READING = [name for name in ENDPOINTS if name.startswith(("GET", "HEAD")) and name != "GET events"]


def _there(owned: Owned) -> Target:
    return Target(owned.repository, "v1", owned.blob, owned.upload)


def _not_there(tenant: str) -> Target:
    return Target(f"{tenant}/nothing", "v9", NEVER_SEEN, "0" * 32)


def told(answer: Answer, target: Target) -> object:
    """What an answer says, without what differs anyway and without the names that were asked for."""
    headers = {name: value for name, value in answer.headers.items() if name not in _PASSING}
    names = "|".join(map(re.escape, sorted(set(vars(target).values()), key=len, reverse=True)))
    return json.loads(re.sub(names, "…", json.dumps([answer.status, headers, answer.body.decode("latin-1")])))


@pytest.mark.parametrize("person", [name for name, person in PEOPLE.items() if person.tenant != ACME])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_not_ones_own(daemon: Daemon, owned: Mapping[str, Owned], person: str, endpoint: str) -> None:
    """Whoever may not gets the same answer for what is there and for what is not, and nothing of it happens."""
    who = PEOPLE[person]
    there, nothing = _there(owned[ACME]), _not_there(ACME)
    answer, other = (ENDPOINTS[endpoint](wire_of(daemon, who), target) for target in (there, nothing))
    _is_refused(who, answer)
    assert told(answer, there) == told(other, nothing)


def _is_refused(who: Person, answer: Answer) -> None:
    """401 to whoever may be somebody else, if he says so; 403 to those who have said it."""
    if who.tenant is None and (not who.accepted or who.authorization is None):
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, CHALLENGE)
        assert answer.code in {"UNAUTHORIZED", ""}
    else:
        assert answer.status == 403
        assert answer.code in {"DENIED", ""}


@pytest.mark.parametrize("person", LIMITED)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_the_token_is_not_good_for(daemon: Daemon, owned: Mapping[str, Owned], person: str, endpoint: str) -> None:
    """Another token may do: the client is told to get one; but not for what no rule allows."""
    answer = ENDPOINTS[endpoint](wire_of(daemon, LIMITED[person]), _there(owned[ACME]))
    assert answer.status == (403 if person == "a token for somebody else's" else 401)


@pytest.mark.parametrize("person", [name for name, person in PEOPLE.items() if person.tenant == ACME])
@pytest.mark.parametrize("endpoint", READING)
def test_what_is_ones_own(daemon: Daemon, owned: Mapping[str, Owned], person: str, endpoint: str) -> None:
    """However somebody has shown that he belongs to a tenant, he sees what is there and what is not."""
    wire = wire_of(daemon, PEOPLE[person])
    assert ENDPOINTS[endpoint](wire, _there(owned[ACME])).status in {200, 204, 206, 304}
    assert ENDPOINTS[endpoint](wire, _not_there(ACME)).status == (200 if endpoint == "GET referrers" else 404)


@pytest.mark.parametrize(
    "endpoint",
    ["HEAD blob", "GET blob", "DELETE blob", "GET referrers", "POST mount", "POST whole blob"],
)
def test_what_others_have_in_the_store(daemon: Daemon, owned: Mapping[str, Owned], endpoint: str) -> None:
    """In one's own repository a digest of somebody else's is like one that was never seen, also as a referrer."""
    wire = wire_of(daemon, PEOPLE["alice"])
    theirs = Target("acme/app", owned[GLOBEX].manifest, owned[GLOBEX].blob, "-")
    nobodys = Target("acme/app", NEVER_SEEN, NEVER_SEEN, "-")
    answer, other = (ENDPOINTS[endpoint](wire, target) for target in (theirs, nobodys))
    assert answer.status == {"GET referrers": 200, "POST mount": 202, "POST whole blob": 400}.get(endpoint, 404)
    assert told(answer, theirs) == told(other, nobodys)


@pytest.mark.parametrize("endpoint", ["HEAD manifest", "GET manifest", "DELETE manifest", "GET status", "GET events"])
def test_manifests_that_others_have(daemon: Daemon, owned: Mapping[str, Owned], endpoint: str) -> None:
    """The same by the digest of a manifest."""
    wire = wire_of(daemon, PEOPLE["alice"])
    theirs, nobodys = (Target("acme/app", digest, "-", "-") for digest in (owned[GLOBEX].manifest, NEVER_SEEN))
    answer, other = (ENDPOINTS[endpoint](wire, target) for target in (theirs, nobodys))
    assert answer.status == 404
    assert told(answer, theirs) == told(other, nobodys)


@pytest.mark.parametrize("source", ["globex/app", "globex/nothing", "acme/nothing"])
def test_a_mount_of_what_others_have(daemon: Daemon, owned: Mapping[str, Owned], source: str) -> None:
    """From theirs, or from wherever it may be: it is an upload like any other, and grants nothing."""
    wire = wire_of(daemon, PEOPLE["alice"])
    blob = owned[GLOBEX].blob
    for query in (f"?mount={blob}&from={source}", f"?mount={blob}"):
        answer = wire.ask("POST", f"/v2/acme/app/blobs/uploads/{query}")
        assert answer.status == 202
        assert wire.ask("DELETE", answer.headers["Location"]).status == 204
    assert wire.ask("HEAD", f"/v2/acme/app/blobs/{blob}").status == 404


def test_a_mount_of_ones_own(daemon: Daemon, owned: Mapping[str, Owned]) -> None:
    """From one repository of a tenant to another."""
    wire, blob = wire_of(daemon, PEOPLE["alice"]), owned[ACME].blob
    assert wire.ask("POST", f"/v2/acme/web/blobs/uploads/?mount={blob}&from=acme/app").status == 201
    assert wire.ask("HEAD", f"/v2/acme/web/blobs/{blob}").status == 200


@pytest.mark.parametrize("sent", [b"", b"not it"])
def test_the_trick_of_the_shared_store(daemon: Daemon, owned: Mapping[str, Owned], sent: bytes) -> None:
    """The store has a blob of that digest, and would take an upload without its bytes; we do not, in any form."""
    wire = wire_of(daemon, PEOPLE["alice"])
    blob = owned[GLOBEX].blob
    path = "/v2/acme/app/blobs/uploads/"
    assert wire.ask("POST", f"{path}?digest={blob}", sent).code == "DIGEST_INVALID"
    assert wire.ask("PUT", f"{wire.begin('acme/app')}?digest={blob}", sent).code == "DIGEST_INVALID"
    chunked = wire.begin("acme/app")
    assert wire.ask("PATCH", chunked, sent).status == 202
    assert wire.ask("PUT", f"{chunked}?digest={blob}").code == "DIGEST_INVALID"
    assert wire.ask("HEAD", f"/v2/acme/app/blobs/{blob}").status == 404


def test_the_same_bytes(daemon: Daemon, owned: Mapping[str, Owned]) -> None:
    """Whoever has them may have them here, too, once he has sent them; both have them then."""
    alice, bob = wire_of(daemon, PEOPLE["alice"]), wire_of(daemon, PEOPLE["bob"])
    path = f"/blobs/{owned[GLOBEX].blob}"
    body = bob.ask("GET", f"/v2/globex/app{path}").body
    assert alice.push_blob("acme/same", body) == owned[GLOBEX].blob
    assert alice.ask("GET", f"/v2/acme/same{path}").body == body
    assert alice.ask("DELETE", f"/v2/acme/same{path}").status == 202
    assert bob.ask("GET", f"/v2/globex/app{path}").body == body


def test_a_manifest_that_names_what_others_have(daemon: Daemon, owned: Mapping[str, Owned]) -> None:
    """It is refused in the same words as one that names what nobody has."""
    alice, bob = wire_of(daemon, PEOPLE["alice"]), wire_of(daemon, PEOPLE["bob"])
    body = bob.ask("GET", f"/v2/globex/app/blobs/{owned[GLOBEX].blob}").body
    config = b"{}"
    alice.push_blob("acme/app", config)
    answers = [alice.push_manifest("acme/app", "v2", manifest(config, layer)) for layer in (body, b"never seen")]
    assert [answer.status for answer in answers] == [404, 404]
    said = [re.sub(r"sha256:\w+", "…", answer.body.decode()) for answer in answers]
    assert said[0] == said[1]


def test_an_index_that_names_what_others_have(daemon: Daemon, owned: Mapping[str, Owned]) -> None:
    """Where tenants share a store it may not be sparse: containerd would find in the store what is not the tenant's."""
    alice = wire_of(daemon, PEOPLE["alice"])
    answers = [
        alice.push_manifest("acme/app", "index", _index(digest), MEDIA["oci"].index)
        for digest in (owned[GLOBEX].manifest, NEVER_SEEN)
    ]
    assert [(answer.status, answer.code) for answer in answers] == [(404, "MANIFEST_BLOB_UNKNOWN")] * 2
    said = [re.sub(r"sha256:\w+", "…", answer.body.decode()) for answer in answers]
    assert said[0] == said[1]


def _index(digest: str) -> bytes:
    child = {"mediaType": MEDIA["oci"].manifest, "digest": digest, "size": 7}
    return json.dumps({"schemaVersion": 2, "mediaType": MEDIA["oci"].index, "manifests": [child]}).encode()


def test_an_index_of_a_manifest_that_is_none(daemon: Daemon) -> None:
    """What was pushed as a blob, or as something else, was not looked at as a manifest, and is not listed as one."""
    alice = wire_of(daemon, PEOPLE["alice"])
    config = b"{}"
    alice.push_blob("acme/app", config)
    hidden, other = manifest(config), manifest(config, media_type="application/vnd.example+json")
    alice.push_blob("acme/app", hidden)
    assert alice.push_manifest("acme/app", "other", other, "application/vnd.example+json").status == 201
    for digest in (digest_of(hidden), digest_of(other)):
        answer = alice.push_manifest("acme/app", "index", _index(digest), MEDIA["oci"].index)
        assert answer.code == "MANIFEST_BLOB_UNKNOWN"


def test_a_layer_that_is_said_to_live_elsewhere(daemon: Daemon, owned: Mapping[str, Owned]) -> None:
    """It lives in the store, and is somebody else's: it has to be pushed like any other."""
    alice = wire_of(daemon, PEOPLE["alice"])
    config = b"{}"
    alice.push_blob("acme/app", config)
    layer = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": owned[GLOBEX].blob,
        "size": 7,
    }
    image = json.dumps({**json.loads(manifest(config)), "layers": [layer]}).encode()
    assert alice.push_manifest("acme/app", "foreign", image).code == "MANIFEST_BLOB_UNKNOWN"


@pytest.mark.parametrize("person", PEOPLE)
def test_the_beginning(daemon: Daemon, person: str) -> None:
    """`GET /v2/` is where clients learn that they should say who they are."""
    who = PEOPLE[person]
    answer = wire_of(daemon, who).ask("GET", "/v2/")
    known = who.accepted and (who.authorization is not None or who.tenant is not None)
    assert answer.status == (200 if known else 401)
    assert answer.headers.get("WWW-Authenticate") == (None if known else CHALLENGE)


@pytest.mark.parametrize(
    ("person", "expected"), [("alice", ["acme/"]), ("bob", ["globex/"]), ("a job without a tenant", [])]
)
def test_the_catalog(daemon: Daemon, owned: Mapping[str, Owned], person: str, expected: list[str]) -> None:
    """Everybody finds his own, page by page."""
    assert owned
    wire, found, path = wire_of(daemon, PEOPLE[person]), list[str](), "/v2/_catalog?n=1"
    while path:
        answer = wire.ask("GET", path)
        found += json.loads(answer.body)["repositories"]
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert sorted({f"{name.partition('/')[0]}/" for name in found}) == expected


@pytest.mark.parametrize(("query", "headers"), [(f"?ns={OTHER}", {}), ("", {"Host": OTHER})])
def test_a_registry_that_the_rule_is_not_about(
    daemon: Daemon, owned: Mapping[str, Owned], query: str, headers: Mapping[str, str]
) -> None:
    """However a request names it: one's own repository of another registry is not one's own."""
    wire = wire_of(daemon, PEOPLE["alice"])
    for method, path in (("GET", "tags/list"), ("POST", "blobs/uploads/"), ("GET", "manifests/v1")):
        assert wire.ask(method, f"/v2/acme/app/{path}{query}", headers=headers).code == "DENIED"
    mount = f"?mount={owned[ACME].blob}&from=acme/app{query.replace('?', '&')}"
    assert wire.ask("POST", f"/v2/acme/app/blobs/uploads/{mount}", headers=headers).code == "DENIED"


def test_everybody_may_pull_what_is_public(daemon: Daemon) -> None:
    """A rule can be for all, also for nobody in particular; and for no more than it says."""
    for who in ("nobody", "alice", "a job without a tenant"):
        wire = wire_of(daemon, PEOPLE[who])
        assert wire.ask("GET", "/v2/public/app/manifests/v1").code == "MANIFEST_UNKNOWN"
        assert wire.ask("POST", "/v2/public/app/blobs/uploads/").status in {401, 403}


def test_denials_are_in_the_log(daemon: Daemon, owned: Mapping[str, Owned]) -> None:
    """With who, what and why; what he has shown is not."""
    wire_of(daemon, PEOPLE["bob"]).ask("GET", f"/v2/{owned[ACME].repository}/tags/list")
    wire_of(daemon, PEOPLE["a wrong password"]).ask("GET", "/v2/")
    lines = daemon.log_lines()
    denied = next(line for line in reversed(lines) if line["event"] == "access.denied")
    assert {name: denied[name] for name in ("principal", "tenant", "action", "repository", "reason")} == {
        "principal": "basic:bob",
        "tenant": "globex",
        "action": "pull",
        "repository": "registry.example.com/acme/app",
        "reason": "no rule allows it",
    }
    unidentified = next(line for line in reversed(lines) if line["event"] == "access.unidentified")
    assert unidentified["reason"] == "basic credentials that nobody here has"
    asked = [line for line in lines if line["event"] == "http.request" and line["principal"] == "basic:bob"]
    assert asked[-1]["status"] == 403
    log = daemon.log.read_text()
    for person in PEOPLE.values():
        if person.authorization and len(person.authorization) > len("Digest alice"):
            assert person.authorization.partition(" ")[2] not in log
