"""Client certificates: the connection has verified them, and their subject says who is there.

Source: RFC 4514 (how a subject is written).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mirror.core.access import Principal
from mirror.identity.caller import Subject

# RFC 4514, 3: the names that everybody knows; OpenSSL has long ones, as others have their own for the rest.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_SPECIAL = re.compile(r'[\\,+"<>;=\x00]|^[ #]| $')


def subject_of(certificate: Mapping[str, Any]) -> Subject:
    """The subject of a certificate as Python's `getpeercert()` gives it."""
    parts: Iterable[Iterable[tuple[str, str]]] = certificate.get("subject", ())
    return tuple((_SHORT.get(name, name), value) for part in parts for name, value in part)


class Certificates:
    """Whom a subject stands for: a principal that is called as it is written, `O=acme,CN=ci-7`.

    Its tenant is the only attribute called `tenant_attribute`, where there is one.
    """

    def __init__(self, tenant_attribute: str | None = None) -> None:
        self._attribute = tenant_attribute

    def principal(self, subject: Subject) -> Principal:
        """The principal of a certificate."""
        name = ",".join(f"{attribute}={_SPECIAL.sub(_escaped, value)}" for attribute, value in subject)
        tenants = [value for attribute, value in subject if attribute == self._attribute]
        return Principal("certificate", name, tenants[0] if len(tenants) == 1 else "")


def _escaped(match: re.Match[str]) -> str:
    return "\\00" if match[0] == "\0" else f"\\{match[0]}"
