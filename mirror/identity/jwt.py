"""JSON web tokens of others: a token server, or a CI that says who its jobs are.

Source: RFC 7519, RFC 7517 (key sets), RFC 8725 (best current practices).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from mirror.core.access import Principal
from mirror.core.ports import Clock
from mirror.identity import claims as claims_of
from mirror.identity.caller import UnidentifiedError
from mirror.runtime.watched import WatchedFile

# Which algorithms a key is for: what a token says of itself does not decide what its signature is checked as.
_ALGORITHMS: Mapping[type[Key], tuple[str, ...]] = {
    RSAKey: ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ECKey: ("ES256", "ES384", "ES512"),
    OKPKey: ("EdDSA", "Ed25519"),
    OctKey: ("HS256", "HS384", "HS512"),
}
_DOTS = 2


class _Header(msgspec.Struct, frozen=True):
    """The part of a token's header that matters; `crit` names what must be understood, and we understand nothing."""

    alg: str
    kid: str | None = None
    crit: Any = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say: who it is for, who made it, and which claim has the tenant; `leeway` in seconds."""

    audience: str
    issuer: str
    tenant_claim: str | None = None
    leeway: float = 60.0


class JwtVerifier:
    """Checks tokens with the keys of a file: a JWKS, or one public key in PEM."""

    def __init__(self, path: Path, expected: Expected, clock: Clock) -> None:
        self._file = WatchedFile(path, _keys)
        self._expected = expected
        self._clock = clock

    def check(self) -> None:
        """Read the file. Raises UnusableFileError."""
        self._file.get()

    def principal(self, token: str) -> Principal | None:
        """See `Bearers`."""
        if token.count(".") != _DOTS:
            return None
        keys = self._file.get()
        try:
            claims = decoded(token, keys, self._expected, self._clock)
            scopes = claims_of.scopes(claims)
        except (JoseError, ValueError) as error:
            raise UnidentifiedError(f"a JWT that is not accepted: {type(error).__name__}") from None
        return Principal("jwt", _text(claims, "sub"), self._tenant(claims), scopes)

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        return _text(claims, self._expected.tenant_claim) if self._expected.tenant_claim else ""


def decoded(token: str, keys: Key | KeySet, expected: Expected, clock: Clock) -> Mapping[str, Any]:
    """The claims of a token that is what is expected, and neither too old nor too new.

    Raises:
        JoseError, ValueError: it is not.
    """
    header = msgspec.json.decode(_unpadded(token.partition(".")[0]), type=_Header)
    if header.crit is not msgspec.UNSET:
        raise ValueError("crit")
    allowed = sorted({name for key in _each(keys) for name in _ALGORITHMS.get(type(key), ())})
    claims = jwt.decode(token, keys, registry=JWSRegistry(algorithms=allowed)).claims
    registry = jwt.JWTClaimsRegistry(
        now=lambda: int(clock.now()),
        leeway=int(expected.leeway),
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.audience},
        exp={"essential": True},
    )
    registry.validate(claims)
    return claims


def _unpadded(part: str) -> bytes:
    """The bytes of a part, in base64 for URLs without its padding. Raises ValueError."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise UnidentifiedError(f"a JWT whose {name} is no text")
    return value


def _each(keys: Key | KeySet) -> list[Key]:
    return list(keys) if isinstance(keys, KeySet) else [keys]


def _keys(raw: bytes) -> Key | KeySet:
    """Keys in either form. Raises ValueError."""
    try:
        if raw.lstrip().startswith(b"{"):
            return KeySet.import_key_set(msgspec.json.decode(raw))
        return _public(raw)
    except (JoseError, KeyError, TypeError) as error:
        raise ValueError(f"holds no keys that can be used: {type(error).__name__}") from None


def _public(pem: bytes) -> Key:
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
    raise ValueError("is neither a JWKS nor a public key in PEM")
