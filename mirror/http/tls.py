"""How a listener shows who we are, and asks its clients who they are.

Source: RFC 5246, RFC 8446.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self

import structlog

_log = structlog.get_logger(__name__)

_Mark = tuple[tuple[int, int, int], ...]


class ServerTls:
    """The TLS of a listener, whose files others may renew at any time.

    What is new counts for connections that come then. A certificate and its key are two files: as long as they do not
    go together, or cannot be read, the ones before them are shown.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._files = tuple(file for file in (certificate, key, client_ca) if file)
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._mark = self._look()
        self._current = self._load()

    @property
    def current(self) -> ssl.SSLContext:
        """What connections that begin now are to have."""
        return self._current

    def refresh(self) -> None:
        """Load the files again if one of them is another than the last time."""
        mark = self._look()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._current = self._load()
        except (OSError, ValueError) as error:
            _log.warning("tls.kept", certificate=str(self._certificate), reason=str(error))
            return
        _log.info("tls.renewed", certificate=str(self._certificate))

    def _look(self) -> _Mark:
        """What changes with the files, and with who may read them; nothing while one is missing."""
        try:
            stats = [file.stat() for file in self._files]
        except OSError:
            return ()
        return tuple((stat.st_ctime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        """Read the files. Raises OSError, ValueError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Without a password the library would ask for one on the terminal, and wait.
        context.load_cert_chain(self._certificate, self._key, password="")
        if self._client_ca:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self._client_ca)
        return context


class Latest(ssl.SSLContext):
    """Has each connection begin with the context that is current then, all of it.

    To change the context of a connection that has begun (by the name that the client asks for) would change less: the
    sessions of the old one could still be resumed, and with them certificates of an authority that does not count any
    more.
    """

    def __new__(cls, _current: Callable[[], ssl.SSLContext]) -> Self:
        """See `ssl.SSLContext`."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, current: Callable[[], ssl.SSLContext]) -> None:
        self._current = current

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as the library has it, and calls it
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """See `ssl.SSLContext`: what asyncio begins a connection with."""
        return self._current().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
