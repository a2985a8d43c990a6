"""HTTP as the rig needs it: one GET, with a login, a private CA and a certificate where a registry asks for them."""

import base64
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

_ANSWER = 30.0


@dataclass(frozen=True)
class Login:
    """A user name and a password."""

    username: str
    password: str

    @property
    def header(self) -> str:
        """The value of `Authorization` that says so."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Bearer:
    """A token."""

    token: str

    @property
    def header(self) -> str:
        """The value of `Authorization` that says so."""
        return f"Bearer {self.token}"


class Shown(Protocol):
    """What an `Authorization` can be made of."""

    @property
    def header(self) -> str:
        """The value."""


def get(
    url: str,
    *,
    accept: str = "*/*",
    login: Shown | None = None,
    ca_file: Path | None = None,
    client: Path | None = None,
) -> tuple[bytes, Message] | None:
    """Body and headers of an answer, None for 404; never by way of a proxy that the environment names.

    Raises:
        urllib.error.URLError: nobody listens, or the answer is another refusal (`HTTPError`).
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca_file:  # it takes a tenth of a second to read the authorities, too long to do it for every poll
        context = ssl.create_default_context(cafile=ca_file)
        if client:
            context.load_cert_chain(client)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    opener.addheaders = [("Accept", accept), *([("Authorization", login.header)] if login else [])]
    try:
        with opener.open(url, timeout=_ANSWER) as answer:
            return answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
        return None


def answers(url: str, *, login: Shown | None = None, ca_file: Path | None = None, client: Path | None = None) -> bool:
    """Whether something serves this URL: to who logs in, or to nobody, if only to ask who is there."""
    try:
        return get(url, login=login, ca_file=ca_file, client=client) is not None
    except urllib.error.HTTPError as error:
        return login is None and error.code == HTTPStatus.UNAUTHORIZED
    except (urllib.error.URLError, ConnectionError):
        return False
