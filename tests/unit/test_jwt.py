"""JSON web tokens: what is taken, and everything that only looks like it."""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from mirror.core.access import Action, Principal, Scope
from mirror.identity.caller import UnidentifiedError
from mirror.identity.issuer import Issuer
from mirror.identity.jwt import Expected, JwtVerifier
from mirror.runtime.watched import UnusableFileError
from tests.unit.clock import EPOCH, ManualClock

EXPECTED = Expected("registry-mirror", "https://auth.example.com", tenant_claim="team", leeway=60)
RSA, EC, OKP = RSAKey.generate_key(2048), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
CLAIMS: Mapping[str, Any] = {
    "iss": "https://auth.example.com",
    "aud": "registry-mirror",
    "sub": "repo:acme/app",
    "team": "acme",
    "exp": int(EPOCH) + 600,
}


def signed(key: Key = EC, algorithm: str = "ES256", header: Mapping[str, Any] | None = None, **claims: object) -> str:
    """A token with these claims beside, or instead of, those that it has to have; None leaves one out."""
    content = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode({"alg": algorithm, **(header or {})}, content, key, algorithms=[algorithm])


def encoded(part: object) -> str:
    """A part of a token."""
    return _base64(json.dumps(part).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One public key in PEM."""
    file = tmp_path / "key.pem"
    file.write_bytes(EC.as_pem(private=False))
    return file


@pytest.fixture
def verifier(file: Path) -> JwtVerifier:
    return JwtVerifier(file, EXPECTED, ManualClock())


def test_a_good_one(verifier: JwtVerifier) -> None:
    """Name, tenant, and no limit where it says none."""
    assert verifier.principal(signed()) == Principal("jwt", "repo:acme/app", "acme", None)


@pytest.mark.parametrize(
    ("access", "scopes"),
    [
        ([], set()),
        (None, set()),
        ([{"type": "repository", "name": "a/b", "actions": ["pull", "push"]}], {("a/b", "pull,push")}),
        ([{"type": "repository", "name": "a/b", "actions": ["*"]}], {("a/b", "delete,pull,push")}),
        ([{"type": "repository", "name": "a/b", "actions": ["frobnicate"]}], {("a/b", "")}),
        ([{"type": "repository", "name": "a/b", "actions": None}], {("a/b", "")}),
        ([{"type": "registry", "name": "catalog", "actions": ["*"]}], set()),
    ],
)
def test_what_it_is_good_for(verifier: JwtVerifier, access: object, scopes: set[tuple[str, str]]) -> None:
    """`access` is a limit, also when it is empty."""
    content = {**CLAIMS, "access": access}
    principal = verifier.principal(jwt.encode({"alg": "ES256"}, content, EC))
    expected = {Scope(path, frozenset(map(Action, filter(None, actions.split(","))))) for path, actions in scopes}
    assert principal
    assert principal.scopes == frozenset(expected)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(EPOCH) - 61},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": int(EPOCH) + 600, "nbf": int(EPOCH) + 61},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"aud": {"registry-mirror": 1}},
        {"iss": "https://other.example.com"},
        {"iss": None},
        {"sub": 7},
        {"team": ["acme"]},
        {"access": "*"},
        {"access": [7]},
        {"access": [{"type": "repository"}]},
        {"access": [{"type": "repository", "name": 7, "actions": []}]},
        {"access": [{"type": "repository", "name": "a", "actions": "pull"}]},
    ],
    ids=str,
)
def test_what_it_says_is_not_right(verifier: JwtVerifier, claims: dict[str, Any]) -> None:
    """It is signed, and still not taken."""
    with pytest.raises(UnidentifiedError):
        verifier.principal(signed(**claims))


@pytest.mark.parametrize(
    "claims", [{"exp": int(EPOCH) - 59}, {"nbf": int(EPOCH) + 59}, {"aud": ["x", "registry-mirror"]}]
)
def test_clocks_may_differ(verifier: JwtVerifier, claims: dict[str, Any]) -> None:
    """By the leeway; and a token may be for several."""
    assert verifier.principal(signed(**claims))


def _pem_as_secret() -> str:
    content = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(dict(CLAIMS))}"
    return f"{content}.{_base64(hmac.digest(EC.as_pem(private=False), content.encode(), 'sha256'))}"


def _critical() -> str:
    content = f"{encoded({'alg': 'ES256', 'crit': ['exp'], 'exp': 1})}.{encoded(dict(CLAIMS))}"
    return f"{content}.{_base64(JWSRegistry.algorithms['ES256'].sign(content.encode(), EC))}"


def _unsigned(algorithm: str) -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(dict(CLAIMS))}."


def _with_its_own_key() -> str:
    mine = ECKey.generate_key("P-256")
    return signed(mine, header={"jwk": mine.as_dict(private=False)})


def _other_claims() -> str:
    header, _, signature = signed().split(".")
    return f"{header}.{encoded({**CLAIMS, 'team': 'globex'})}.{signature}"


CONFUSED: Mapping[str, Callable[[], str]] = {
    "another key": lambda: signed(ECKey.generate_key("P-256")),
    "a key of another kind": lambda: signed(RSA, "RS256"),
    "the public key as a secret": _pem_as_secret,
    "no signature": lambda: _unsigned("none"),
    "no signature, in other letters": lambda: _unsigned("NoNe"),
    "no signature, but the right algorithm": lambda: _unsigned("ES256"),
    "a key that it brings along": _with_its_own_key,
    "claims that were not signed": _other_claims,
    "a part missing": lambda: signed().rpartition(".")[0] + ".",
    "no JSON": lambda: "e30.e30.e30",
    "not base64": lambda: "!.!.!",
    "what must be understood": _critical,
    "nothing that must be understood": lambda: f"{encoded({'alg': 'ES256', 'crit': None})}.{encoded({})}.",
    "nothing": lambda: "..",
}


@pytest.mark.parametrize("kind", CONFUSED)
def test_confusion(verifier: JwtVerifier, kind: str) -> None:
    """What a token says of itself decides nothing."""
    with pytest.raises(UnidentifiedError):
        verifier.principal(CONFUSED[kind]())


def test_what_is_none(verifier: JwtVerifier) -> None:
    """It may be of another kind."""
    assert verifier.principal("7f0b3f4c5d") is None


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (OKP, "Ed25519")])
def test_keys(file: Path, key: Key, algorithm: str) -> None:
    """Each kind of public key, alone or in a set with others of any kind."""
    token = signed(key, algorithm)
    if not isinstance(key, OctKey):
        file.write_bytes(key.as_pem(private=False))
    assert JwtVerifier(file, EXPECTED, ManualClock()).principal(token)
    keys = KeySet([RSA, EC, OKP])
    file.write_text(json.dumps(keys.as_dict(private=False)))
    assert JwtVerifier(file, EXPECTED, ManualClock()).principal(signed(key, algorithm, header={"kid": key.kid}))


def test_a_set_that_is_renewed(file: Path) -> None:
    """A key that is taken out is not taken any more."""
    old, new = ECKey.generate_key("P-256", {"kid": "old"}), ECKey.generate_key("P-256", {"kid": "new"})
    file.write_text(json.dumps(KeySet([old, new]).as_dict(private=False)))
    verifier = JwtVerifier(file, EXPECTED, ManualClock())
    assert verifier.principal(signed(old, header={"kid": "old"}))
    file.write_text(json.dumps(KeySet([new]).as_dict(private=False)))
    with pytest.raises(UnidentifiedError):
        verifier.principal(signed(old, header={"kid": "old"}))
    assert verifier.principal(signed(new, header={"kid": "new"}))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "x"}]}', b"{", b"-----BEGIN", b"\xff"]
)
def test_what_holds_no_keys(file: Path, content: bytes) -> None:
    """The file is named."""
    file.write_bytes(content)
    with pytest.raises(UnusableFileError, match=r"key\.pem"):
        JwtVerifier(file, EXPECTED, ManualClock()).check()


def test_those_of_two_processes() -> None:
    """A token of ours from before a restart is nobody's."""
    clock = ManualClock()
    token = Issuer(clock, 60).issue(Principal("basic", "alice"), []).token
    assert Issuer(clock, 60).principal(token) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64"]), st.text() | st.integers() | st.none()
    ),
    claims=st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "access"]), st.recursive(st.none() | st.text(), st.lists)),
    signature=st.binary(max_size=70),
)
def test_anything_else(verifier: JwtVerifier, header: object, claims: object, signature: bytes) -> None:
    """It is refused, and nothing breaks."""
    with pytest.raises(UnidentifiedError):
        verifier.principal(f"{encoded(header)}.{encoded(claims)}.{_base64(signature)}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="abcAB01-_.=!~ ", max_size=200))
def test_any_text(verifier: JwtVerifier, text: str) -> None:
    """The same, without a form."""
    try:
        assert verifier.principal(text) is None
    except UnidentifiedError:
        assert text.count(".") == 2
