"""Those who come: by what they show, and from where."""

import base64
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.conftest import UPSTREAM
from tests.rig.web import Bearer, Login

ALICE, BOB = Login("alice", "open sesame"), Login("bob", "12345: öffne")
CI = Bearer("ci-5f3c8a1be0d94b6a")
KEY = ECKey.generate_key("P-256")
AUDIENCE, ISSUER = "registry-mirror", "https://auth.example.com"
ACME, GLOBEX = "acme", "globex"
NOWHERE, FROM_ACME, FROM_GLOBEX = "127.0.0.1", "127.0.1.1", "127.0.2.1"
_LIFETIME = 3600

EVERYTHING = ["pull", "push", "delete", "status"]
RULES: Mapping[str, object] = {
    "own": {"tenants": ["*"], "repositories": ["{tenant}/**"], "registries": [UPSTREAM], "actions": EVERYTHING},
    "public": {"principals": ["*"], "repositories": ["public/**"], "actions": ["pull"]},
}


@dataclass(frozen=True)
class Person:
    """Somebody who sends requests; `tenant` is whose he is taken for, None for nobody's.

    `accepted` is whether what he shows is.
    """

    authorization: str | None = None
    source: str = NOWHERE
    tenant: str | None = None
    accepted: bool = True


def token(*, key: ECKey = KEY, expires: float = _LIFETIME, **claims: object) -> str:
    """A JWT of the issuer that the daemon believes, if it is signed with its key."""
    content = {"iss": ISSUER, "aud": AUDIENCE, "sub": "job-7", "exp": int(time.time() + expires), **claims}
    return f"Bearer {jwt.encode({'alg': 'ES256'}, content, key)}"


def _unsigned() -> str:
    head, _, rest = token(tenant=ACME).partition(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    assert head != none
    return f"Bearer {none}.{rest.partition('.')[0]}."


def _scope(path: str, *actions: str) -> list[dict[str, object]]:
    return [{"type": "repository", "name": path, "actions": list(actions)}]


PEOPLE: Mapping[str, Person] = {
    "nobody": Person(),
    "alice": Person(ALICE.header, tenant=ACME),
    "bob": Person(BOB.header, tenant=GLOBEX),
    "bob, from acme's network": Person(BOB.header, FROM_ACME, GLOBEX),
    "a machine of acme": Person(source=FROM_ACME, tenant=ACME),
    "a machine of globex": Person(source=FROM_GLOBEX, tenant=GLOBEX),
    "ci": Person(CI.header, tenant=ACME),
    "ci, as a login": Person(Login("token", CI.token).header, tenant=ACME),
    "a job of acme": Person(token(tenant=ACME), tenant=ACME),
    "a job of globex": Person(token(tenant=GLOBEX), tenant=GLOBEX),
    "a job without a tenant": Person(token()),
    "a wrong password": Person(Login("alice", "12345").header, accepted=False),
    "a wrong password, from acme's network": Person(Login("alice", "12345").header, FROM_ACME, accepted=False),
    "a user that there is not": Person(Login("mallory", "12345").header, accepted=False),
    "a token that there is not": Person(Bearer("5f3c8a1be0d94b6a").header, accepted=False),
    "a hash as a token": Person(Bearer(hashlib.sha256(CI.token.encode()).hexdigest()).header, accepted=False),
    "a token that is over": Person(token(tenant=ACME, expires=-_LIFETIME), accepted=False),
    "a token of another key": Person(token(tenant=ACME, key=ECKey.generate_key("P-256")), accepted=False),
    "a token of nobody": Person(_unsigned(), accepted=False),
    "another kind of proof": Person("Digest alice", accepted=False),
    "no proof at all": Person("", accepted=False),
}
"""All kinds of them, by what they are."""

LIMITED: Mapping[str, Person] = {
    "a token for another repository": Person(token(tenant=ACME, access=_scope("acme/other", "pull", "push", "delete"))),
    "a token for nothing": Person(token(tenant=ACME, access=[])),
    "a token for somebody else's": Person(token(tenant=GLOBEX, access=_scope("acme/app", "pull", "push", "delete"))),
}
"""Those whose token is not good for `acme/app`."""


def identity(directory: Path, **more: object) -> dict[str, object]:
    """Settings by which the daemon knows them, with the files that these name."""
    directory.mkdir(parents=True)
    users = (f"{login.username}:{_bcrypt(login.password)}\n" for login in (ALICE, BOB))
    (directory / "htpasswd").write_text("".join(users))
    (directory / "tokens").write_text(f"ci:{hashlib.sha256(CI.token.encode()).hexdigest()}\n")
    (directory / "jwt.pem").write_bytes(KEY.as_pem(private=False))
    return {
        "networks": {"127.0.1.0/24": ACME, "127.0.2.0/24": GLOBEX},
        "htpasswd": str(directory / "htpasswd"),
        "tokens": str(directory / "tokens"),
        "tenants": {"basic:alice": ACME, "basic:bob": GLOBEX, "token:ci": ACME},
        "jwt": {
            "keys": str(directory / "jwt.pem"),
            "audience": AUDIENCE,
            "issuer": ISSUER,
            "tenant_claim": "tenant",
        },
        **more,
    }


def _bcrypt(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
