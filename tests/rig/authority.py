"""An authority of our own: certificates for servers, and for their clients."""

import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import trustme

NAME = "mirror.test"
"""What its servers are called beside their addresses, for clients that do not check certificates of the loopback."""

_ADDRESSES = ("127.0.0.1", "::1", "localhost", NAME)


class Authority:
    """Makes certificates, into files of `directory`; its own is in the file `ca`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def server(
        self, name: str = "server", addresses: Sequence[str] = _ADDRESSES, ends: datetime | None = None
    ) -> Mapping[str, str]:
        """Have a new certificate for these names and addresses, as the settings of a listener name it."""
        certificate = self._authority.issue_cert(*addresses, common_name=name, not_after=ends)
        files = {"certificate": self._directory / f"{name}.pem", "key": self._directory / f"{name}.key"}
        files["certificate"].write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(files["key"])
        return {key: str(file) for key, file in files.items()}

    def client(self, name: str, organization: str | None = None) -> Path:
        """Have a certificate for a client, in one file with its key."""
        certificate = self._authority.issue_cert(f"{name}.rig", common_name=name, organization_name=organization)
        file = self._directory / f"{name}.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(file)
        return file

    def context(self, client: Path | None = None) -> ssl.SSLContext:
        """What connects to its servers and no others, with a client's certificate if need be."""
        context = ssl.create_default_context(cafile=self.ca)
        if client:
            context.load_cert_chain(client)
        return context
