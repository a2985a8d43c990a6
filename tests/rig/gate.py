"""A registry that asks for bearer tokens and forgets them when it likes (distribution spec, token authentication)."""

import json
import secrets
from dataclasses import dataclass, field
from threading import Lock

from tests.rig.exchange import Exchange, Request
from tests.rig.faults import PassOn
from tests.rig.wire import Answer

_REALM = "/token"
_LIFETIME = 3600


@dataclass
class Gate:
    """What a proxy at `url` is to do with every request: serve it if it has the newest token.

    The first token is good for `uses` requests (None: for ever), those after it for ever. A request without a good
    one is refused when `after` bytes of its body have come.
    """

    url: str
    uses: int | None = None
    after: int = 0
    issued: list[str] = field(default_factory=list, repr=False)
    """Every token there was, the last one last."""
    _left: int | None = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def expire(self) -> None:
        """Forget the token that was good."""
        self._left = 0

    def serve(self, exchange: Exchange) -> None:
        """Give a token, pass a request on, or refuse it."""
        if exchange.request.path == _REALM:
            exchange.reply(self._issue())
        elif self._is_good(exchange.request):
            PassOn().serve(exchange)
        else:
            exchange.take(self.after)
            exchange.reply(self._challenge())

    def _issue(self) -> Answer:
        with self._lock:
            self._left = None if self.issued else self.uses
            self.issued.append(secrets.token_hex())
        body = json.dumps({"token": self.issued[-1], "expires_in": _LIFETIME}).encode()
        return Answer(200, {"Content-Type": "application/json"}, body)

    def _is_good(self, request: Request) -> bool:
        with self._lock:
            newest = f"Bearer {self.issued[-1]}" if self.issued else None
            if self._left == 0 or request.headers.get("Authorization") != newest:
                return False
            self._left = self._left and self._left - 1
            return True

    def _challenge(self) -> Answer:
        scope = 'scope="repository:team/app:pull,push"'
        challenge = f'Bearer realm="{self.url}{_REALM}",service="rig",{scope}'
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        headers = {"Content-Type": "application/json", "WWW-Authenticate": challenge}
        return Answer(401, headers, json.dumps(body).encode())
