"""Short-lived tokens: who gets one, what it is good for, and until when; and those of a token server elsewhere."""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faketime import ClockedDaemon
from tests.rig.tokens import ISSUER, SERVICE, TokenServer
from tests.rig.web import Bearer, Login
from tests.rig.wire import Answer, Wire
from tests.security.people import ACME, ALICE, BOB, CI, FROM_ACME, RULES, identity, token

NOWHERE_UP = {UPSTREAM: "http://127.0.0.1:1"}
RULES_HERE = {**RULES, "everybody": {"principals": ["anonymous"], "repositories": ["open/**"], "actions": ["pull"]}}
WRONG = Login("alice", "12345")
ALL = "pull,push,delete"


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd) -> Iterator[Daemon]:
    """A daemon that gives tokens."""
    directory = scratch / "tokens"
    settings = {"identity": identity(directory / "identity", issue=300), "rules": RULES_HERE}
    with Daemon(directory / "daemon", containerd.address, NOWHERE_UP, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def clocked(directory: Path, containerd: Containerd) -> Iterator[ClockedDaemon]:
    """The same by a clock that can be set."""
    settings = {"identity": identity(directory / "identity", issue=300), "rules": RULES_HERE}
    with ClockedDaemon(directory / "daemon", containerd.address, NOWHERE_UP, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


def _as(daemon: Daemon, shown: Login | Bearer | None = None, source: str = "") -> Wire:
    return Wire(daemon.url, authorization=shown.header if shown else None, source=source)


def _tags(daemon: Daemon, repository: str, shown: Login | Bearer | None = None) -> Answer:
    return _as(daemon, shown).ask("GET", f"/v2/{repository}/tags/list")


def _challenge(daemon: Daemon, **more: str) -> str:
    parameters = {"realm": f"{daemon.url}/token", "service": "registry-mirror", **more}
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


def _get(wire: Wire, *scopes: str) -> Answer:
    query = urllib.parse.urlencode([("service", "registry-mirror"), *(("scope", scope) for scope in scopes)])
    return wire.ask("GET", f"/token?{query}")


def _post(wire: Wire, **fields: str) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return wire.ask("POST", "/token", urllib.parse.urlencode(fields).encode(), headers)


def _given(answer: Answer) -> Bearer:
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    body: dict[str, Any] = json.loads(answer.body)
    assert (body["token"], body["expires_in"]) == (body["access_token"], 300)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", body["issued_at"])
    return Bearer(body["token"])


def test_the_challenge(daemon: Daemon) -> None:
    """It leads to where the client is, for what it wanted; at the beginning, for nothing yet."""
    assert _as(daemon).ask("GET", "/v2/").headers["WWW-Authenticate"] == _challenge(daemon)
    wanted = _tags(daemon, "acme/app").headers["WWW-Authenticate"]
    assert wanted == _challenge(daemon, scope="repository:acme/app:pull")
    upload = _as(daemon).ask("POST", "/v2/acme/app/blobs/uploads/")
    assert upload.headers["WWW-Authenticate"] == _challenge(daemon, scope="repository:acme/app:pull,push")
    elsewhere = _as(daemon).ask("GET", "/v2/", headers={"Host": "_api.internal:5000"})
    assert 'realm="http://_api.internal:5000/token"' in elsewhere.headers["WWW-Authenticate"]


@pytest.mark.parametrize("host", ['a"b', "a/b", "a b", "user@host", "a,b", "ä", ""])
def test_a_host_that_is_none(daemon: Daemon, host: str) -> None:
    """It gets into no header."""
    answer = _as(daemon).ask("GET", "/v2/", headers={"Host": host.encode().decode("latin-1")})
    assert (answer.status, "WWW-Authenticate" in answer.headers) == (400, False)


@pytest.mark.parametrize("shown", [ALICE, CI, Login("token", CI.token), Bearer(token(tenant=ACME).split()[1])])
def test_by_get(daemon: Daemon, shown: Login | Bearer) -> None:
    """Whatever somebody shows: a login, or a token that is none of ours."""
    given = _given(_get(_as(daemon, shown), f"repository:acme/app:{ALL}"))
    assert _tags(daemon, "acme/app", given).status == 404
    assert _tags(daemon, "acme/app", Login("token", given.token)).status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"grant_type": "password", "username": "alice", "password": ALICE.password},
        {"grant_type": "password", "username": "token", "password": CI.token},
        {"grant_type": "refresh_token", "refresh_token": CI.token},
    ],
    ids=["alice", "ci", "refresh"],
)
def test_by_post(daemon: Daemon, fields: Mapping[str, str]) -> None:
    """A login, or a token that lasts."""
    scope = f"repository:acme/app:{ALL} repository:acme/web:pull"
    given = _given(_post(_as(daemon), service="registry-mirror", client_id="test", scope=scope, **fields))
    for repository, status in [("acme/app", 404), ("acme/web", 404), ("acme/other", 401)]:
        assert _tags(daemon, repository, given).status == status


def test_what_is_granted(daemon: Daemon) -> None:
    """What was asked for, as far as the rules go, and nothing beyond it."""
    scopes = ["repository:acme/app:pull", "repository:globex/app:pull,push repository:public/x:pull,push"]
    given = _given(_get(_as(daemon, ALICE), *scopes, "registry:catalog:*", "repository:acme/web:fly"))
    wire = _as(daemon, given)
    assert _tags(daemon, "acme/app", given).status == 404
    assert wire.ask("POST", "/v2/acme/app/blobs/uploads/").status == 401
    assert _tags(daemon, "public/x", given).status == 404
    assert wire.ask("POST", "/v2/public/x/blobs/uploads/").status == 403
    assert _tags(daemon, "globex/app", given).status == 403
    assert _tags(daemon, "acme/web", given).status == 401
    everything = _as(daemon, _given(_get(_as(daemon, ALICE), "repository:acme/app:*")))
    assert everything.ask("DELETE", "/v2/acme/app/manifests/v1").status == 404


def test_one_that_is_not_good_for_it(daemon: Daemon) -> None:
    """The client is told so (RFC 6750), and what to ask for; a token of nobody's may be somebody's the next time."""
    given = _given(_get(_as(daemon, ALICE), "repository:acme/app:pull"))
    answer = _as(daemon, given).ask("DELETE", "/v2/acme/app/manifests/v1")
    expected = _challenge(daemon, scope="repository:acme/app:pull,delete", error="insufficient_scope")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, expected)
    nobodys = _tags(daemon, "acme/app", _given(_get(_as(daemon), "repository:acme/app:pull")))
    expected = _challenge(daemon, scope="repository:acme/app:pull", error="insufficient_scope")
    assert (nobodys.status, nobodys.headers["WWW-Authenticate"]) == (401, expected)


def test_of_nobody(daemon: Daemon) -> None:
    """Whoever shows nothing gets a token for what everybody may, or for what may be done from where he is."""
    given = _given(_get(_as(daemon), "repository:open/app:pull,push", "repository:acme/app:pull"))
    assert _as(daemon, given).ask("GET", "/v2/").status == 200
    assert _tags(daemon, "open/app", given).status == 404
    assert _as(daemon, given).ask("POST", "/v2/open/app/blobs/uploads/").status == 401
    assert _tags(daemon, "acme/app", given).status == 401
    machine = _given(_get(_as(daemon, source=FROM_ACME), "repository:acme/app:pull"))
    assert _tags(daemon, "acme/app", machine).status == 404


def test_what_is_not_accepted(daemon: Daemon) -> None:
    """A wrong login or token is 401, in either way of asking; and no token for nobody in its place."""
    scope = "repository:open/app:pull"
    for shown in (WRONG, Login("mallory", "12345"), Bearer("12345")):
        assert _get(_as(daemon, shown), scope).status == 401
    fields = {"grant_type": "password", "username": "alice", "scope": scope}
    assert _post(_as(daemon), **fields, password="12345").status == 401  # noqa: S106 - a wrong one
    assert _post(_as(daemon), **fields).status == 401
    assert _post(_as(daemon), grant_type="refresh_token", refresh_token=ALICE.password).status == 401
    wrong = _as(daemon, Bearer("12345")).ask("GET", "/v2/acme/app/tags/list")
    assert wrong.headers["WWW-Authenticate"] == _challenge(daemon, error="invalid_token")
    assert "12345" not in daemon.log.read_text()


def test_a_token_gives_no_token(daemon: Daemon) -> None:
    """Neither by GET nor by POST, not even for less: or it would last for ever."""
    given = _given(_get(_as(daemon, ALICE), "repository:acme/app:pull"))
    assert _get(_as(daemon, given), "repository:acme/app:pull").status == 401
    assert _get(_as(daemon, Login("token", given.token))).status == 401
    assert _post(_as(daemon), grant_type="refresh_token", refresh_token=given.token).status == 401
    limited = token(tenant=ACME, access=[{"type": "repository", "name": "acme/app", "actions": ["pull"]}])
    assert _get(_as(daemon, Bearer(limited.split()[1])), f"repository:acme/app:{ALL}").status == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"no form", 400),
        (b"\xff\xfe=1", 400),
        (b"grant_type=%ff", 400),
        (b'{"grant_type": "password"}', 400),
        (b"username=alice", 400),
        (b"grant_type=authorization_code&code=1", 400),
        (b"grant_type=password&username=alice:open&password=sesame", 400),
        (b"grant_type=password&username=alice%00&password=x", 401),
        (b"&".join([b"a=1"] * 33), 400),
        (b"grant_type=password&scope=" + b"a" * (16 << 10), 413),
        (b"a=" + b"a" * (5 << 20), 413),
        (b"grant_type=refresh_token&refresh_token=ci-5f3c8a1be0d94b6a&scope=repository:UPPER:pull", 400),
    ],
)
def test_forms(daemon: Daemon, body: bytes, code: int) -> None:
    """What is none, too large, or has too many fields is refused, in words."""
    answer = _as(daemon).ask("POST", "/token", body)
    assert (answer.status, bool(answer.code)) == (code, True)


@pytest.mark.parametrize(
    "scope", ["repository:UPPER:pull", "repository:../etc:pull", "repository::pull", "repository:"]
)
def test_scopes_that_are_none(daemon: Daemon, scope: str) -> None:
    """A path that no repository has."""
    assert _get(_as(daemon, ALICE), scope).code == "NAME_INVALID"


def test_too_many_scopes(daemon: Daemon) -> None:
    """At most 64 in one token."""
    scopes = [f"repository:acme/app-{number}:pull" for number in range(65)]
    assert _get(_as(daemon, ALICE), *scopes[:64]).status == 200
    assert _get(_as(daemon, ALICE), *scopes).status == 400


def test_what_else_is_asked_of_it(daemon: Daemon) -> None:
    """Nothing."""
    for method in ("HEAD", "PUT", "DELETE"):
        assert _as(daemon, ALICE).ask(method, "/token").status == 405


def test_one_that_is_over(clocked: ClockedDaemon) -> None:
    """After its time, or with the clock before it, and after a restart: the client is told to get another."""
    for begin in range(2):
        given = _given(_get(_as(clocked, ALICE), "repository:acme/app:pull"))
        assert _tags(clocked, "acme/app", given).status == 404
        if begin:
            clocked.stop()
            clocked.start()
        else:
            clocked.clock.set(1)
        answer = _tags(clocked, "acme/app", given)
        expected = _challenge(clocked, error="invalid_token")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, expected)
    assert _tags(clocked, "acme/app", _given(_get(_as(clocked, ALICE), "repository:acme/app:pull"))).status == 404


def test_without_tokens_of_ours(directory: Path, containerd: Containerd) -> None:
    """Whoever has logins and gives no tokens asks for the login at each request; there is no `/token`."""
    settings = {"identity": identity(directory / "identity"), "rules": RULES}
    with Daemon(directory / "daemon", containerd.address, NOWHERE_UP, settings=settings) as daemon:
        assert _tags(daemon, "acme/app").headers["WWW-Authenticate"].startswith("Basic ")
        assert _get(_as(daemon, BOB)).status == 404


def test_a_server_elsewhere(directory: Path, containerd: Containerd) -> None:
    """Clients are sent there, and its tokens are good for what they say, as far as the rules go."""
    with TokenServer(directory / "tokens", ALICE) as server:
        jwt = {"keys": str(server.public), "audience": SERVICE, "issuer": ISSUER, "realm": server.realm}
        rules = {"rig": {"principals": ["jwt:rig"], "repositories": ["acme/**"]}}
        settings: dict[str, Mapping[str, object]] = {"identity": {"jwt": jwt}, "rules": rules}
        with Daemon(directory / "daemon", containerd.address, NOWHERE_UP, settings=settings) as daemon:
            asked = f'Bearer realm="{server.realm}",service="{SERVICE}",scope="repository:acme/app:pull"'
            assert _tags(daemon, "acme/app").headers["WWW-Authenticate"] == asked
            for scope, repository, status in [
                ("repository:acme/app:pull", "acme/app", 404),
                ("repository:acme/app:pull", "acme/web", 401),
                ("repository:globex/app:pull", "globex/app", 403),
            ]:
                assert _tags(daemon, repository, _from(server, scope)).status == status
            answer = _tags(daemon, "acme/web", _from(server, "repository:acme/app:pull"))
            assert answer.headers["WWW-Authenticate"].endswith('pull",error="insufficient_scope"')
            assert _tags(daemon, "acme/app", server.issue(["repository:acme/app:pull"], -300)).status == 401
            assert not daemon.complaints()


def _from(server: TokenServer, scope: str) -> Bearer:
    """What a client does that was sent there."""
    url = f"{server.realm}&{urllib.parse.urlencode({'service': SERVICE, 'scope': scope})}"
    request = urllib.request.Request(url, headers={"Authorization": ALICE.header})  # noqa: S310 - the rig's own server
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return Bearer(json.loads(answer.read())["token"])
