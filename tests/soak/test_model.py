"""What the soak itself goes by: its plan, and what the ledger takes for kept."""

from contextlib import ExitStack, suppress
from itertools import islice

from tests.soak.ledger import Ledger
from tests.soak.plan import pushes


def push(ledger: Ledger, digest: str) -> None:
    """A push of the tag that is acknowledged."""
    with ledger.attempt("app", "v1", digest):
        pass


def lose(ledger: Ledger, digest: str) -> None:
    """A push of the tag whose answer is lost."""
    with suppress(ConnectionError), ledger.attempt("app", "v1", digest):
        raise ConnectionError


def allowed(ledger: Ledger) -> set[str | None]:
    """What the tag may be."""
    ((_, _, digests),) = ledger.tags()
    return digests


def test_a_seed_is_a_plan() -> None:
    """The same seed gives the same pushes; another seed, or another pusher, others."""
    plans = [list(islice(pushes(seed, pusher), 20)) for seed, pusher in ((1, 0), (1, 0), (2, 0), (1, 1))]
    assert plans[0] == plans[1]
    assert plans[0] not in plans[2:]


def test_the_last_push_wins() -> None:
    """What was acknowledged before it is upstream by digest only."""
    ledger = Ledger()
    for digest in ("a", "b", "a", "c"):
        push(ledger, digest)
    assert allowed(ledger) == {"c"}
    assert ledger.manifests == {("app", digest) for digest in "abc"}


def test_a_lost_answer() -> None:
    """The push may have been acknowledged or not; once a later one is, it does not matter."""
    ledger = Ledger()
    lose(ledger, "a")
    assert allowed(ledger) == {"a", None}
    push(ledger, "b")
    lose(ledger, "c")
    assert allowed(ledger) == {"b", "c"}
    assert ledger.manifests == {("app", "b")}


def test_pushes_side_by_side() -> None:
    """Either may be the later one, and what had ended before both began is neither."""
    ledger = Ledger()
    push(ledger, "a")
    with ExitStack() as running:
        running.enter_context(ledger.attempt("app", "v1", "b"))
        push(ledger, "c")
    assert allowed(ledger) == {"b", "c"}
