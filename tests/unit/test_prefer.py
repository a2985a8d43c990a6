"""The `Prefer` header, as RFC 7240 writes it."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from mirror.http.prefer import parse, upstream_wait


@pytest.mark.parametrize(
    ("header", "preferences"),
    [
        ("", []),
        ("respond-async", [("respond-async", "")]),
        ("respond-async, wait=10", [("respond-async", ""), ("wait", "10")]),
        ("  Wait = upstream\t", [("wait", "upstream")]),
        ('wait="upstream"', [("wait", "upstream")]),
        (r'a="b, wait=1; \"c\\",wait=2', [("a", r'b, wait=1; "c\ '.strip()), ("wait", "2")]),
        ("foo; wait=1; bar, wait=2", [("foo", ""), ("wait", "2")]),
        ('foo=""; x="," ;, b=', [("foo", ""), ("b", "")]),
        (",, a,", [("a", "")]),
        ("a, b/c, d", [("a", "")]),
        ('a, b="never ends', [("a", "")]),
    ],
)
def test_preferences(header: str, preferences: list[tuple[str, str]]) -> None:
    """Names in any case, values with and without quotes; parameters are left out, and so is all after an error."""
    assert list(parse(header)) == preferences


@given(st.text(alphabet='wait=upstream;," \\\t/é', max_size=60))
def test_anything_may_come(header: str) -> None:
    """No header makes it fail, and what it finds was in there."""
    for name, _ in parse(header):
        assert name in header.lower()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=10"], None),
        (["respond-async; wait=upstream"], None),
        (["wait=upstream"], 25),
        (["respond-async", "wait=upstream"], 25),
        (["wait=upstream, wait=10"], 10),
        (["wait=3", "wait=upstream"], 3),
        (["wait=upstream, wait=0"], 0),
        (["wait=upstream, wait=600"], 25),
        (["wait=upstream, wait=-1, wait=x"], 25),
    ],
)
def test_waiting_for_the_upstream(headers: list[str], seconds: float | None) -> None:
    """Only who says so waits, for as long as he says, but never longer than BuildKit would."""
    assert upstream_wait(_request(headers)) == seconds


def _request(headers: list[str]) -> web.Request:
    return make_mocked_request("PUT", "/", CIMultiDict(("Prefer", header) for header in headers))
