"""Certificates for people: whose they are, until when, and why one is not believed.

Source: RFC 5280; OpenSSL, x509_vfy.h (the codes of `X509_V_ERR_`).
"""

import ssl
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

_FEW = 5
_NAMES = ("its certificate is for other names than {host}", "set url to a name that the certificate has")
_AUTHORITY = (
    "its certificate is by an authority that is not known here",
    "set ca_file to its authority in PEM, if you trust it, or add that to the system's",
)
_REFUSALS = {
    9: ("its certificate does not count yet", "this host's clock is most likely wrong: timedatectl"),
    10: ("its certificate has expired", "its operator has to renew it; or this host's clock is wrong: timedatectl"),
    **dict.fromkeys((2, 18, 19, 20, 21, 27), _AUTHORITY),
    **dict.fromkeys((62, 64), _NAMES),
}
_CLIENT = ("it refused the connection", "it may want a certificate of ours: set client_cert and client_key")
_PLAIN = ("it does not speak TLS at this port", "set url to http://, or to the port with TLS")
_ALERTS = (
    ("WRONG_VERSION_NUMBER", *_PLAIN),
    ("RECORD_LAYER_FAILURE", *_PLAIN),
    ("CERTIFICATE_REQUIRED", *_CLIENT),
    ("ALERT_BAD_CERTIFICATE", *_CLIENT),
    ("HANDSHAKE_FAILURE", *_CLIENT),
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says: the names and addresses it is for, who made it, and from when until when it counts."""

    names: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime

    def __str__(self) -> str:
        names = ", ".join(self.names[:_FEW]) or "nobody"
        return f"it is for {names}, by {self.issuer or 'nobody'}, until {self.ends:%Y-%m-%d %H:%M} UTC"


def read_certificate(data: bytes) -> Certificate:
    """The first certificate of a PEM file, or one in DER. Raises ValueError."""
    pem = data.startswith(b"-----") or b"\n-----BEGIN" in data
    found = x509.load_pem_x509_certificates(data)[0] if pem else x509.load_der_x509_certificate(data)
    return Certificate(
        _names(found), found.issuer.rfc4514_string(), found.not_valid_before_utc, found.not_valid_after_utc
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return ()
    if not isinstance(extension, x509.SubjectAlternativeName):
        return ()
    addresses = extension.get_values_for_type(x509.IPAddress)
    return (*extension.get_values_for_type(x509.DNSName), *map(str, addresses))


def why_refused(error: ssl.SSLError, host: str) -> tuple[str, str]:
    """Why a TLS connection to an upstream did not come about, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError) and (known := _REFUSALS.get(error.verify_code)):
        return known[0].format(host=host), known[1]
    for sign, seen, remedy in _ALERTS:
        if sign in str(error):
            return seen, remedy
    return f"TLS failed: {error.reason or error}", "see to its certificate and the versions of TLS that it speaks"
