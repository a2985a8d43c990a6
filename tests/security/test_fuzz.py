"""Anything at all, from somebody who may and from somebody who may not: an answer, and never that we failed."""

import json
from collections.abc import Mapping
from http.client import InvalidURL
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rig.daemon import Daemon
from tests.rig.images import MEDIA
from tests.rig.wire import Wire, digest_of
from tests.security.conftest import wire_of
from tests.security.people import PEOPLE

_SETTINGS = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])

DIGESTS = st.sampled_from([digest_of(b""), digest_of(b"x"), "sha256:", "sha512:" + "0" * 128, "sha256:" + "g" * 64])
# A name may be anything; some look like what there is.
SEGMENTS = st.one_of(
    st.sampled_from(["acme", "app", "v2", "blobs", "manifests", "uploads", "tags", "list", "_mirror", "..", "", "*"]),
    DIGESTS,
    st.text(max_size=20),
)
PATHS = st.one_of(
    st.lists(SEGMENTS, max_size=8).map(lambda parts: "/v2/" + "/".join(quote(part, safe="") for part in parts)),
    st.builds("/v2/acme/app/{}/{}".format, st.sampled_from(["blobs", "manifests", "referrers"]), DIGESTS),
    st.sampled_from(
        [
            "/v2/acme/app/blobs/uploads/",
            "/v2/acme/app/tags/list",
            "/v2/acme/app/manifests/v1",
            "/v2/acme/app/_mirror/status/v1",
            "/v2/_catalog",
            "/token",
            "/v2/",
        ]
    ),
)
NUMBERS = st.one_of(st.integers().map(str), st.sampled_from(["9" * 5000, "-0", "1e9", "٣", "0x10", "1_000", "", "²"]))
VALUES = st.one_of(NUMBERS, DIGESTS, st.text(max_size=40), st.just("acme/app"))
QUERIES = st.dictionaries(
    st.sampled_from(["digest", "mount", "from", "ns", "n", "last", "tag", "artifactType", "digest-algorithm", "scope"]),
    VALUES,
    max_size=4,
)
RANGES = st.builds("{}{}-{}".format, st.sampled_from(["bytes=", "", "bytes ", "BYTES="]), NUMBERS, NUMBERS)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Authorization",
            "Content-Encoding",
            "Content-Range",
            "Content-Type",
            "Expect",
            "If-None-Match",
            "If-Range",
            "Prefer",
            "Range",
        ]
    ),
    st.one_of(RANGES, VALUES, st.sampled_from(["100-continue", 'W/"x"', "*", "wait=upstream, wait=0", "Basic Og=="])),
    max_size=4,
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
DESCRIPTORS = st.fixed_dictionaries(
    {},
    optional={"digest": DIGESTS | JSON, "size": st.integers() | JSON, "mediaType": st.text() | JSON, "platform": JSON},
)
MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": st.just(2) | JSON,
        "mediaType": st.sampled_from([MEDIA["oci"].manifest, MEDIA["oci"].index]) | JSON,
        "config": DESCRIPTORS | JSON,
        "layers": st.lists(DESCRIPTORS, max_size=3) | JSON,
        "manifests": st.lists(DESCRIPTORS, max_size=3) | JSON,
        "subject": DESCRIPTORS | JSON,
        "artifactType": st.text(max_size=5) | JSON,
        "annotations": st.dictionaries(st.text(max_size=5), st.text(max_size=5)) | JSON,
    },
)


@pytest.fixture(params=["alice", "nobody"])
def wire(request: pytest.FixtureRequest, daemon: Daemon) -> Wire:
    """Requests of somebody who may and of somebody who may not."""
    return wire_of(daemon, PEOPLE[request.param])


def answered(wire: Wire, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> int:
    """The status of an answer; what a client cannot even send is none of ours."""
    try:
        sent = {name: value.encode().decode("latin-1") for name, value in headers.items()}
        return wire.ask(method, path, body, sent).status
    except (ValueError, InvalidURL):
        return 400


@_SETTINGS
@given(
    method=METHODS,
    path=PATHS,
    query=QUERIES,
    headers=HEADERS,
    body=st.none() | st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_any_request(
    wire: Wire,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes | None,
) -> None:
    """Names, ranges, headers, bodies: it is taken or refused."""
    words = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    assert answered(wire, method, f"{path}?{words}", body, headers) not in {500, 503}


@_SETTINGS
@given(document=MANIFESTS | JSON, media_type=st.sampled_from([MEDIA["oci"].manifest, MEDIA["oci"].index, "", "x/y"]))
def test_any_manifest(wire: Wire, document: Any, media_type: str) -> None:  # noqa: ANN401 - any JSON
    """It is acknowledged or refused, and can be read back in the first case."""
    raw = json.dumps(document).encode()
    answer = wire.push_manifest("acme/fuzz", "v1", raw, media_type)
    assert answer.status in {201, 400, 401, 404}
    if answer.status == 201:
        assert wire.ask("GET", "/v2/acme/fuzz/manifests/v1").body == raw


def test_nothing_grew(daemon: Daemon) -> None:
    """All of the above came and went: what it took is a daemon's usual size, of about 80 MiB."""
    assert daemon.peak_memory() < 160 * 1024 * 1024
