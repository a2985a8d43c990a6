"""From the settings to what recipes are about: the daemon as clients reach it, and the registries."""

from pathlib import Path, PurePosixPath

from mirror.cli.recipes import Mirror, Registry
from mirror.config import Listener, Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on; a client needs an address


def mirror_at(listener: Listener, address: str | None = None, ca: Path | None = None, *, push: bool = False) -> Mirror:
    """A listener on TCP, as clients reach it: at `address`, or where it listens. Raises OSError: `ca` is not there."""
    host, port = listener.address
    host = _ANYWHERE.get(host, host)
    reached = address or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    authority = (PurePosixPath(ca.absolute()), ca.read_text()) if ca and listener.tls else None
    return Mirror(reached, listener.tls is not None, authority, push)


def registries(settings: Settings) -> list[Registry]:
    """All that are configured."""
    return [
        Registry(
            name,
            upstream.url,
            name == settings.default_upstream,
            PurePosixPath(upstream.ca_file) if upstream.ca_file else None,
            (PurePosixPath(upstream.client_cert), PurePosixPath(upstream.client_key))
            if upstream.client_cert and upstream.client_key
            else None,
        )
        for name, upstream in settings.upstreams.items()
    ]
