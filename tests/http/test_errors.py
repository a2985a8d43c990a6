"""Requests that are refused before they get anywhere, and a containerd that is away."""

from functools import partial

import pytest

from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

DIGEST = digest_of(b"anything")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/UPPER/blobs/" + DIGEST, 400, "NAME_INVALID"),
        ("GET", "/v2/a//b/blobs/" + DIGEST, 400, "NAME_INVALID"),
        ("GET", "/v2/a/%2e%2e/b/blobs/" + DIGEST, 400, "NAME_INVALID"),
        ("GET", f"/v2/{'a' * 256}/blobs/{DIGEST}", 400, "NAME_INVALID"),
        ("POST", "/v2/-a/blobs/uploads/", 400, "NAME_INVALID"),
        ("GET", "/v2/a/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/sha512:" + "0" * 128, 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/" + DIGEST, 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/a/manifests/-tag", 400, "MANIFEST_INVALID"),
        ("GET", "/v2/a/manifests/" + "t" * 129, 400, "MANIFEST_INVALID"),
        ("GET", "/v2/a/manifests/sha256:abc", 400, "DIGEST_INVALID"),
        ("PUT", "/v2/a/manifests/-tag", 400, "MANIFEST_INVALID"),
        ("GET", "/v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/" + DIGEST, 404, "MANIFEST_UNKNOWN"),
        ("PATCH", "/v2/a/manifests/v1", 405, "UNSUPPORTED"),
        ("GET", "/v3/", 404, "UNSUPPORTED"),
    ],
)
def test_a_request_that_is_refused(method: str, path: str, status: int, code: str, wire: Wire) -> None:
    """It gets the status and the code of the one table, in the spec's error body."""
    answer = wire.ask(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.error["message"]


def test_an_error_to_a_head_has_no_body(wire: Wire) -> None:
    """A HEAD gets the status alone."""
    answer = wire.ask("HEAD", "/v2/a/blobs/" + DIGEST)
    assert (answer.status, answer.body) == (404, b"")


def test_it_is_a_registry(wire: Wire) -> None:
    """The version check answers 200."""
    assert wire.ask("GET", "/v2/").status == 200


def test_containerd_away(wire: Wire, containerd: Containerd) -> None:
    """Without containerd every request is 503 with Retry-After, and all is well again once it is back."""
    location = wire.begin("team/app")
    containerd.kill()
    for method, path in (
        ("POST", "/v2/team/app/blobs/uploads/"),
        ("PATCH", location),
        ("GET", "/v2/team/app/manifests/v1"),
    ):
        answer = wire.ask(method, path, b"")
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0
    containerd.start()
    until(lambda: wire.ask("POST", "/v2/team/app/blobs/uploads/").status == 202, "pushes are taken again")
    assert wire.ask("PATCH", location, b"the session goes on").status == 202


def test_one_line_per_request(wire: Wire, daemon: Daemon) -> None:
    """Every request is one line of the log, with an id of its own and how it ended."""
    path = "/v2/log/me/blobs/" + DIGEST
    wire.ask("GET", path)
    wire.ask("GET", path)
    until(lambda: len(_lines(daemon, path)) == 2, "both are logged")
    first, second = _lines(daemon, path)
    assert (first["status"], first["method"]) == (404, "GET")
    assert first["request"] != second["request"]


def _lines(daemon: Daemon, path: str) -> list[dict[str, object]]:
    return [line for line in daemon.log_lines() if line["event"] == "http.request" and line["path"] == path]


def test_a_request_has_one_name(wire: Wire, daemon: Daemon) -> None:
    """In the log and for the client, who may choose it; what is no name is not taken for one. So it is with blobs."""
    digest = wire.push_blob("team/app", bytes(5 << 20))
    for path in ("/v2/", "/v2/team/app/manifests/none", f"/v2/team/app/blobs/{digest}", "/nowhere"):
        named = wire.ask("GET", path, headers={"X-Request-Id": "build-7.1_a"})
        assert named.headers["X-Request-Id"] == "build-7.1_a"
        for given in ("", "a b", "x" * 65, "é"):
            said = wire.ask("GET", path, headers={"X-Request-Id": given}).headers["X-Request-Id"]
            assert said != given
            until(partial(_is_logged, daemon, path, said), "it is in the log")


def _is_logged(daemon: Daemon, path: str, request: str) -> bool:
    return request in {line["request"] for line in _lines(daemon, path)}
