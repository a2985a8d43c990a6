"""How a connection to an upstream is secured: whom we believe, and who we say that we are."""

import ssl
from pathlib import Path


def tls_context(ca_file: Path | None, client_cert: Path | None, client_key: Path | None) -> ssl.SSLContext:
    """Believe the authorities of `ca_file`, else the system's; show `client_cert`, with its chain, where we are asked.

    Raises:
        ValueError: a file cannot be read or is not what it should be; the text names it.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # the SSL library's errors are such too, and none of them names a file
        raise ValueError(f"{ca_file}: {_why(error)}") from error
    if client_cert:
        try:
            # Without a password the library would ask for one on the terminal, and wait.
            context.load_cert_chain(client_cert, client_key, password="")
        except OSError as error:
            raise ValueError(f"{client_cert} and {client_key}: {_why(error)}") from error
    return context


def _why(error: OSError) -> str:
    return error.strerror or str(error)
