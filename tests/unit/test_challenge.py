"""What an upstream asks for: `WWW-Authenticate`, as servers write it and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror.upstream.challenge import Challenge, bearer_challenge, challenges

REALM = "https://auth.example.com/token"
WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+.^_`|~-", min_size=1)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@pytest.mark.parametrize(
    "header",
    [
        f'Bearer realm="{REALM}",service="registry.example.com",scope="repository:team/app:pull,push"',
        f'bEaReR REALM="{REALM}" , Service = "registry.example.com"',
        f"Bearer realm={REALM}, service=registry.example.com",
        f'Bearer service="registry.example.com",error="invalid_token",realm="{REALM}"',
        f'Basic realm="a, \\"Bearer realm=x", Bearer realm="{REALM}",service="registry.example.com"',
        f'Negotiate, NTLM TlRMTVNTUAAC==, Bearer realm="{REALM}",service="registry.example.com", Basic realm="x"',
        f', ,Bearer realm="{REALM}",,service="registry.example.com",',
        f'Bearer realm="{REALM}",service="registry.example.com",realm="https://second.example.com"',
        f'Bearer realm="{REALM}#part",service="registry.example.com" scope="after a blank, not a comma"',
        'Bearer realm="https://me:hunter2@auth.example.com/token",service="registry.example.com"',
    ],
)
def test_a_token_is_asked_for(header: str) -> None:
    """Realm and service are found, whatever stands around them."""
    assert bearer_challenge([header]) == Challenge(URL(REALM), "registry.example.com")


def test_the_realm_keeps_its_query() -> None:
    """A realm may have a query of its own; a service is not needed."""
    assert bearer_challenge([f'Bearer realm="{REALM}?a=b%2Fc"']) == Challenge(URL(f"{REALM}?a=b%2Fc"), "")


def test_several_headers() -> None:
    """The first that asks for a token counts."""
    assert bearer_challenge(['Basic realm="x"', f'Bearer realm="{REALM}"']) == Challenge(URL(REALM), "")


@pytest.mark.parametrize(
    "header",
    [
        "",
        'Basic realm="x"',
        "Bearer",
        "Bearer abc==",
        'Bearer service="registry.example.com"',
        'Bearer realm="/token"',
        'Bearer realm="ftp://auth.example.com/token"',
        'Bearer realm="https://"',
        'Bearer realm="https://[::1"',
        f'Bearer realm="{REALM}',
        f'Basic "what", Bearer realm="{REALM}"',
    ],
)
def test_no_token_is_asked_for(header: str) -> None:
    """Another scheme, no realm that could be asked, or nonsense before it."""
    assert bearer_challenge([header]) is None


@given(TEXTS)
def test_nothing_breaks_it(header: str) -> None:
    """Whatever is said, it is read to its end."""
    assert all(scheme == scheme.lower() for scheme, _ in challenges(header))
    bearer_challenge([header, f"Bearer realm={header}", f'Bearer realm="{header}"'])


@given(st.lists(st.tuples(WORDS, st.dictionaries(WORDS.map(str.lower), TEXTS, min_size=1)), max_size=4))
def test_what_is_written_is_read(written: list[tuple[str, dict[str, str]]]) -> None:
    """Any schemes, names and values come back, when they are quoted as the RFC says."""
    quoted = [
        f"{scheme} " + ", ".join(f'{name}="{_escaped(value)}"' for name, value in parameters.items())
        for scheme, parameters in written
    ]
    expected = [(scheme.lower(), parameters) for scheme, parameters in written]
    assert list(challenges(", ".join(quoted))) == expected


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
