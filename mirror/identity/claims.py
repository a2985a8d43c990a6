"""What the claims of a token say: the one reading of those that docker's token servers write.

Source: distribution, "Token Authentication Specification" (`access`), RFC 7519.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mirror.core.access import Action, Scope

_ACTIONS = {action.value: frozenset({action}) for action in (Action.PULL, Action.PUSH, Action.DELETE)} | {
    "*": frozenset({Action.PULL, Action.PUSH, Action.DELETE})
}


class _Access(msgspec.Struct, frozen=True):
    type: str
    name: str
    actions: list[str] | None = None


def scopes(claims: Mapping[str, Any]) -> frozenset[Scope] | None:
    """What `access` limits a token to: nothing beyond it, and without it no limit.

    Raises:
        ValueError: it is not what the specification says.
    """
    if "access" not in claims:
        return None
    entries = msgspec.convert(claims["access"], list[_Access] | None) or []
    return frozenset(_scope(entry) for entry in entries if entry.type == "repository")


def _scope(entry: _Access) -> Scope:
    return Scope(entry.name, actions(entry.actions or ()))


def actions(names: Iterable[str]) -> frozenset[Action]:
    """What actions are meant by their names; `*` is all, others than ours are none."""
    return frozenset().union(*(_ACTIONS.get(name, frozenset()) for name in names))


def access(granted: Sequence[Scope]) -> list[dict[str, object]]:
    """Scopes as the `access` of a token."""
    return [
        {"type": "repository", "name": scope.path, "actions": sorted(action.value for action in scope.actions)}
        for scope in granted
    ]
