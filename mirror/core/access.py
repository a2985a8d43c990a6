"""Who may do what: one decision, made from the rules of the settings and nothing else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from mirror.oci.names import Repository

ANYBODY = "*"
"""In the place of a tenant: any that has one."""

_PLACE = re.compile(r"\*\*|\*|\{tenant\}")
_PATTERN = re.compile(rf"(?:[a-z0-9._/-]|{_PLACE.pattern})+")


class Action(StrEnum):
    """What can be done to a repository; `STATUS` is asking where its pushes stand."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is good for: some actions on one repository path."""

    path: str
    actions: frozenset[Action]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: by which kind of proof, and under which name.

    Names of different kinds never mean the same, so that nobody who gives out tokens can make one for a user of another
    list. `tenant` is empty for those that belong to none. With `scopes` no more is allowed than they say.
    """

    kind: str
    name: str = ""
    tenant: str = ""
    scopes: frozenset[Scope] | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing is known of who is calling."""
        return self.kind == "anonymous"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


ANONYMOUS = Principal("anonymous")
"""Whoever shows nothing, and comes from nowhere that is known."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One permission.

    It is for the `tenants` and the `principals` that it names, or for everybody who is somebody when it names none. A
    principal is named exactly, or by how it begins: `basic:ci-*`. In `repositories`, `*` is a part of one component of
    a path and `**` any number of them; `{tenant}` is the caller's own. Without `registries` it is for all of them.
    """

    actions: frozenset[Action]
    tenants: frozenset[str] = frozenset()
    principals: tuple[str, ...] = ()
    registries: frozenset[str] = frozenset()
    repositories: tuple[str, ...] = ("**",)

    def allows(self, principal: Principal, action: Action, repository: Repository) -> bool:
        """Whether this is such a caller, such an action and such a repository."""
        return (
            action in self.actions
            and (not self.registries or repository.registry in self.registries)
            and self._is_for(principal)
            and any(_covers(pattern, principal, repository.path) for pattern in self.repositories)
        )

    def _is_for(self, principal: Principal) -> bool:
        if not self.tenants and not self.principals:
            return not principal.is_anonymous
        of_tenant = bool(principal.tenant) and not self.tenants.isdisjoint({principal.tenant, ANYBODY})
        return of_tenant or any(_names(pattern, str(principal)) for pattern in self.principals)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided, and why; `by_scope` when only the token of the caller is in the way."""

    allowed: bool
    reason: str
    by_scope: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules by their names. None at all is a registry that is open to whoever reaches it."""

    rules: Mapping[str, Rule] | None

    def decide(self, principal: Principal, action: Action, repository: Repository) -> Verdict:
        """What one of the rules allows, and the caller's token too; the rest is denied."""
        if self.rules is None:
            return Verdict(allowed=True, reason="there are no rules")
        name = next((name for name, rule in self.rules.items() if rule.allows(principal, action, repository)), None)
        if name is None:
            return Verdict(allowed=False, reason="no rule allows it")
        if principal.scopes is not None and not _in_scope(principal.scopes, action, repository):
            return Verdict(allowed=False, reason="the token is not good for it", by_scope=True)
        return Verdict(allowed=True, reason=name)


def check_pattern(pattern: str) -> None:
    """Raise ValueError for what no path can match, or means something that it does not say."""
    if not _PATTERN.fullmatch(pattern) or "***" in pattern:
        raise ValueError(f"{pattern!r} is no pattern of repositories")


def _in_scope(scopes: frozenset[Scope], action: Action, repository: Repository) -> bool:
    """Tokens know of pull, push and delete only: whoever may pull or push an image may ask how it is."""
    wanted = {Action.PULL, Action.PUSH} if action is Action.STATUS else {action}
    return any(scope.path == repository.path and not wanted.isdisjoint(scope.actions) for scope in scopes)


def _names(pattern: str, principal: str) -> bool:
    return principal.startswith(pattern[:-1]) if pattern.endswith("*") else principal == pattern


def _covers(pattern: str, principal: Principal, path: str) -> bool:
    if "{tenant}" in pattern and not principal.tenant:
        return False
    return covers(pattern, path, principal.tenant)


def covers(pattern: str, path: str, tenant: str = "") -> bool:
    """Whether a pattern means a repository, by its path."""
    return _compiled(pattern, tenant).fullmatch(path) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str, tenant: str) -> re.Pattern[str]:
    """A pattern as a regular expression, for the callers of one tenant."""
    meaning = {"**": ".+", "*": "[^/]*", "{tenant}": re.escape(tenant)}
    parts = re.split(f"({_PLACE.pattern})", pattern)
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))
