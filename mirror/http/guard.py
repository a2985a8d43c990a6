"""At the door of every handler: which repository a request means, and whether the caller may do that to it."""

import structlog
from aiohttp import web

from mirror.core.access import Action, Verdict
from mirror.core.registries import Registries
from mirror.http import target
from mirror.http.identify import DOOR, PRINCIPAL
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import MAX_PATH, Repository

_log = structlog.get_logger(__name__)

# What clients ask their token server for, who push and look at what they push with one token.
_SCOPES = {
    Action.PULL: "pull",
    Action.PUSH: "pull,push",
    Action.DELETE: "pull,delete",
    Action.STATUS: "pull",
}


class Guard:
    """Handlers get their repository here and nowhere else, so that none can forget to say what for.

    Paths may have `longest` characters. A denial depends on the name and on the caller, never on what is there: nothing
    has been looked for yet.
    """

    def __init__(self, registries: Registries, longest: int = MAX_PATH) -> None:
        self._registries = registries
        self._longest = longest

    def registry(self, request: web.Request) -> str:
        """The registry that is meant. Raises RegistryError: NAME_UNKNOWN."""
        return self._registries.choose(request.query.get("ns"), request.host)

    def repository(self, request: web.Request, action: Action) -> Repository:
        """The repository that is meant, if this may be done to it.

        Raises:
            RegistryError: NAME_INVALID, NAME_UNKNOWN; UNAUTHORIZED where other credentials may help, else DENIED.
        """
        repository = Repository(self.registry(request), target.path(request, self._longest))
        verdict = self._decide(request, action, repository)
        if not verdict.allowed:
            raise self._refusal(request, action, repository, verdict)
        return repository

    def may_pull(self, request: web.Request, repository: Repository) -> bool:
        """Whether the caller may pull from a repository; nothing is said or logged of those that he may not."""
        return request[DOOR].policy.decide(request[PRINCIPAL], Action.PULL, repository).allowed

    def may_mount(self, request: web.Request, source: Repository | None) -> bool:
        """Whether the caller may have a blob from `source`, None for wherever it is.

        Where there are rules that is nowhere: the search itself would tell, by its time, what others have.
        """
        if request[DOOR].policy.rules is None:
            return True
        return source is not None and self._decide(request, Action.PULL, source).allowed

    def identified(self, request: web.Request) -> None:
        """Have whoever shows nothing show something, where he can. Raises RegistryError: UNAUTHORIZED."""
        principal = request[PRINCIPAL]
        is_nobody = principal.is_anonymous and principal.scopes is None
        if request[DOOR].policy.rules is not None and is_nobody and request[DOOR].challenge.takes_credentials:
            raise request[DOOR].challenge.refusal(request, "")

    def _decide(self, request: web.Request, action: Action, repository: Repository) -> Verdict:
        """Decide, and log what is denied."""
        principal = request[PRINCIPAL]
        verdict = request[DOOR].policy.decide(principal, action, repository)
        if not verdict.allowed:
            _log.warning(
                "access.denied",
                action=action.value,
                repository=str(repository),
                reason=verdict.reason,
                principal=str(principal),
                tenant=principal.tenant or None,
            )
        return verdict

    def _refusal(self, request: web.Request, action: Action, repository: Repository, verdict: Verdict) -> RegistryError:
        """An answer that may make the client come back as somebody else, or with another token; or the last word."""
        principal = request[PRINCIPAL]
        may_become_another = principal.is_anonymous or verdict.by_scope
        if may_become_another and request[DOOR].challenge.takes_credentials:
            scope = f"repository:{repository.path}:{_SCOPES[action]}"
            error = "" if principal.scopes is None else "insufficient_scope"
            return request[DOOR].challenge.refusal(request, f"{action.value} {repository}", scope=scope, error=error)
        return RegistryError(Problem.DENIED, f"{action.value} {repository}")
