"""Who may do what: the one table of decisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.access import ANONYMOUS, Action, Policy, Principal, Rule, Scope, Verdict, check_pattern
from mirror.oci.names import Repository

HERE, THERE = "registry.example.com", "other.example.com"
ALICE = Principal("basic", "alice", "acme")
BOB = Principal("basic", "bob", "globex")
CI = Principal("token", "ci-7")
BUILDER = Principal("network", "fdaa:0:18::/48", "acme")
ALL = frozenset(Action)
PULL = frozenset({Action.PULL})


def policy(**rules: Rule) -> Policy:
    """Rules by their names."""
    return Policy(rules)


def scoped(path: str, *actions: Action) -> Principal:
    """Somebody of acme whose token is for one repository."""
    return Principal("jwt", "carol", "acme", frozenset({Scope(path, frozenset(actions))}))


def allowed(rule: Rule, principal: Principal, path: str, action: Action = Action.PULL, registry: str = HERE) -> bool:
    """What a policy of one rule says."""
    return policy(only=rule).decide(principal, action, Repository(registry, path)).allowed


OWN = Rule(ALL, tenants=frozenset({"*"}), repositories=("{tenant}/**", "{tenant}"))


@pytest.mark.parametrize(
    ("rule", "principal", "path", "expected"),
    [
        pytest.param(Rule(ALL), ALICE, "app", True, id="everybody who is somebody"),
        pytest.param(Rule(ALL), CI, "app", True, id="also without a tenant"),
        pytest.param(Rule(ALL), ANONYMOUS, "app", False, id="but nobody else"),
        pytest.param(Rule(ALL, tenants=frozenset({"acme"})), ALICE, "app", True, id="by tenant"),
        pytest.param(Rule(ALL, tenants=frozenset({"acme"})), BUILDER, "app", True, id="by tenant, however proven"),
        pytest.param(Rule(ALL, tenants=frozenset({"acme"})), BOB, "app", False, id="another tenant"),
        pytest.param(Rule(ALL, tenants=frozenset({"acme"})), CI, "app", False, id="no tenant"),
        pytest.param(Rule(ALL, tenants=frozenset({"*"})), BOB, "app", True, id="any tenant"),
        pytest.param(Rule(ALL, tenants=frozenset({"*"})), CI, "app", False, id="any tenant is not none"),
        pytest.param(Rule(ALL, tenants=frozenset({"*"})), ANONYMOUS, "app", False, id="anonymous has none"),
        pytest.param(Rule(ALL, principals=("basic:alice",)), ALICE, "app", True, id="by name"),
        pytest.param(Rule(ALL, principals=("basic:alice",)), Principal("jwt", "alice"), "app", False, id="of a kind"),
        pytest.param(Rule(ALL, principals=("basic:alic",)), ALICE, "app", False, id="names are whole"),
        pytest.param(Rule(ALL, principals=("token:ci-*",)), CI, "app", True, id="by how a name begins"),
        pytest.param(Rule(ALL, principals=("token:*",)), ALICE, "app", False, id="by kind"),
        pytest.param(Rule(ALL, principals=("anonymous",)), ANONYMOUS, "app", True, id="anonymous where it is named"),
        pytest.param(Rule(ALL, principals=("*",)), ANONYMOUS, "app", True, id="everybody"),
        pytest.param(Rule(ALL, frozenset({"globex"}), ("basic:alice",)), ALICE, "app", True, id="one of both will do"),
        pytest.param(Rule(ALL, repositories=("team/*",)), ALICE, "team/app", True, id="one component"),
        pytest.param(Rule(ALL, repositories=("team/*",)), ALICE, "team/app/web", False, id="no more than one"),
        pytest.param(Rule(ALL, repositories=("team/*",)), ALICE, "team", False, id="no less than one"),
        pytest.param(Rule(ALL, repositories=("team/**",)), ALICE, "team/app/web", True, id="any number"),
        pytest.param(Rule(ALL, repositories=("team/**",)), ALICE, "teams/app", False, id="components are whole"),
        pytest.param(Rule(ALL, repositories=("team/app-*",)), ALICE, "team/app-web", True, id="part of a component"),
        pytest.param(Rule(ALL, repositories=("a.b",)), ALICE, "a_b", False, id="a dot is a dot"),
        pytest.param(Rule(ALL, repositories=("a/**", "b/**")), ALICE, "b/c", True, id="several patterns"),
        pytest.param(OWN, ALICE, "acme/app", True, id="own"),
        pytest.param(OWN, ALICE, "acme", True, id="own, exactly"),
        pytest.param(OWN, ALICE, "acmes/app", False, id="begins like one's own"),
        pytest.param(OWN, ALICE, "globex/app", False, id="somebody else's"),
        pytest.param(OWN, CI, "acme/app", False, id="without a tenant nothing is one's own"),
        pytest.param(OWN, Principal("jwt", "x", ".*"), "acme/app", False, id="a tenant is no pattern"),
    ],
)
def test_who_and_where(rule: Rule, principal: Principal, path: str, expected: bool) -> None:  # noqa: FBT001 - a column
    """Whom a rule is for, and for which repositories."""
    assert allowed(rule, principal, path) is expected


@pytest.mark.parametrize("granted", Action)
@pytest.mark.parametrize("asked", Action)
def test_actions(granted: Action, asked: Action) -> None:
    """No action contains another one."""
    assert allowed(Rule(frozenset({granted})), ALICE, "app", asked) is (granted is asked)


@pytest.mark.parametrize(
    ("registries", "registry", "expected"),
    [(frozenset(), THERE, True), (frozenset({HERE}), HERE, True), (frozenset({HERE}), THERE, False)],
)
def test_registries(registries: frozenset[str], registry: str, expected: bool) -> None:  # noqa: FBT001 - a column
    """A rule is for all registries or for those that it names."""
    assert allowed(Rule(ALL, registries=registries), ALICE, "app", registry=registry) is expected


@pytest.mark.parametrize(
    ("principal", "action", "expected"),
    [
        (scoped("acme/app", Action.PULL), Action.PULL, True),
        (scoped("acme/app", Action.PULL), Action.PUSH, False),
        (scoped("acme/app", Action.PUSH), Action.STATUS, True),
        (scoped("acme/app", Action.PULL), Action.STATUS, True),
        (scoped("acme/app", Action.DELETE), Action.STATUS, False),
        (scoped("acme/other", Action.PULL), Action.PULL, False),
        (scoped("acme/app"), Action.PULL, False),
        (Principal("jwt", "carol", "acme", frozenset()), Action.PULL, False),
    ],
)
def test_tokens(principal: Principal, action: Action, expected: bool) -> None:  # noqa: FBT001 - a column
    """What a token does not say is denied for its sake, so that the client knows to ask for another one."""
    verdict = policy(own=OWN).decide(principal, action, Repository(HERE, "acme/app"))
    assert (verdict.allowed, verdict.by_scope) == (expected, not expected)


def test_a_token_gives_nothing_by_itself() -> None:
    """What no rule allows is not a matter of the token."""
    verdict = policy(own=OWN).decide(scoped("globex/app", Action.PULL), Action.PULL, Repository(HERE, "globex/app"))
    assert verdict == Verdict(allowed=False, reason="no rule allows it")


def test_one_of_the_rules() -> None:
    """The reason is the name of the first that allows it."""
    rules = policy(pull=Rule(PULL), own=OWN, again=Rule(ALL, tenants=frozenset({"acme"})))
    assert rules.decide(ALICE, Action.PUSH, Repository(HERE, "acme/app")) == Verdict(allowed=True, reason="own")
    assert rules.decide(ALICE, Action.PUSH, Repository(HERE, "app")).reason == "again"


def test_deny_is_the_default_once_there_are_rules() -> None:
    """Without any, whoever reaches us may do everything; with an empty list nobody anything."""
    app = Repository(HERE, "app")
    assert Policy(None).decide(ANONYMOUS, Action.DELETE, app).allowed
    assert not policy().decide(ALICE, Action.PULL, app).allowed


@pytest.mark.parametrize("pattern", ["**", "*", "team/*", "team/**", "{tenant}/app-*", "a.b_c-d/e"])
def test_patterns(pattern: str) -> None:
    """What can be said."""
    check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["", "Team/*", "team/{user}", "team app", "***", "team:v1", "{tenant", "a\\b"])
def test_what_is_no_pattern(pattern: str) -> None:
    """What no path can be, or what means less than it seems to."""
    with pytest.raises(ValueError, match="no pattern"):
        check_pattern(pattern)


@given(tenant=st.text(), path=st.from_regex(r"[a-z0-9]+(/[a-z0-9]+){0,3}", fullmatch=True))
def test_one_tenant_never_reaches_another(tenant: str, path: str) -> None:
    """Whatever a tenant is called, its own rule covers what begins with its name, and nothing else."""
    somebody = Principal("jwt", "x", tenant)
    mine = bool(tenant) and (path == tenant or path.startswith(f"{tenant}/"))
    assert allowed(OWN, somebody, path) is mine
