"""Upload sessions against a model: whatever clients do to them, a blob is what was sent, or the request was refused."""

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mirror.containerd.ingest import MESSAGE
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing

REPOSITORY = "team/sessions"
STEPS = 20
AT_ONCE = 3
LARGEST = 3 * MESSAGE // 2
SKEWS = 1 << 16
NOISE = random.Random(5).randbytes(SKEWS + STEPS * LARGEST)  # noqa: S311 - the same in each run

sizes = st.one_of(st.integers(1, 100), st.sampled_from([MESSAGE - 1, MESSAGE, MESSAGE + 1, LARGEST]))
splits = st.lists(st.integers(1, LARGEST), max_size=5)
writes = st.sampled_from(["PATCH", "PUT"])


@dataclass
class Session:
    """The model of one session: what its client means to push, and how much of that the daemon has acknowledged.

    It pushes the noise from `skew` on, so that no byte fits in another's place.
    """

    location: str
    skew: int
    offset: int = 0

    @property
    def id(self) -> str:
        """What the daemon calls it."""
        return self.location.partition("?")[0].rpartition("/")[2]

    @property
    def held(self) -> bytes:
        """What the daemon has to have of it."""
        return self.at(0, self.offset)

    @property
    def progress(self) -> str:
        """The `Range` of an answer; `0-0` is no byte as well as one."""
        return f"0-{max(self.offset - 1, 0)}"

    def at(self, start: int, size: int) -> bytes:
        """A chunk of what it pushes."""
        return NOISE[self.skew + start : self.skew + start + size]


class Sessions(RuleBasedStateMachine):
    """Clients that push, err, vanish and come back, while the daemon is killed now and then."""

    sessions: Bundle[Session] = Bundle("sessions")

    def __init__(self, daemon: Daemon, containerd: Containerd) -> None:
        super().__init__()
        self.daemon, self.containerd, self.wire = daemon, containerd, Wire(daemon.url)
        self.contents = containerd.contents()
        self.open: list[Session] = []
        self.dropped: list[Session] = []
        self.killed = False

    @precondition(lambda self: len(self.open) < AT_ONCE)
    @rule(target=sessions, skew=st.just(0) | st.integers(1, SKEWS))
    def begin(self, skew: int) -> Session:
        """A client opens a session, for bytes of its own or for those that others push too."""
        session = Session(self.wire.begin(REPOSITORY), skew)
        self.open.append(session)
        return session

    @rule(session=sessions, size=sizes, cuts=splits)
    def stream(self, session: Session, size: int, cuts: list[int]) -> None:
        """A chunk without length or place, in pieces of any size, goes to the end."""
        chunk = session.at(session.offset, size)
        self._taken(session, chunk, self.wire.ask("PATCH", session.location, _pieces(chunk, cuts)))

    @rule(session=sessions, size=sizes, streamed=st.booleans())
    def place(self, session: Session, size: int, *, streamed: bool) -> None:
        """A chunk that says where it belongs, and continues what is there."""
        chunk = session.at(session.offset, size)
        body = _pieces(chunk, [size // 2]) if streamed else chunk
        self._taken(session, chunk, self.wire.ask("PATCH", session.location, body, _range(session.offset, len(chunk))))

    @rule(session=sessions, method=writes, distance=st.integers(-2 * MESSAGE, 2 * MESSAGE), size=sizes)
    def misplace(self, session: Session, method: str, distance: int, size: int) -> None:
        """A replay, an overlap and a gap are refused with what is there; a last chunk too."""
        start = max(session.offset + distance, 0)
        if start == session.offset:
            return
        address = finishing(session.location, digest_of(session.held))
        answer = self.wire.ask(method, address, session.at(0, size), _range(start, size))
        assert (answer.status, answer.headers["Range"]) == (416, session.progress)

    @rule(session=sessions, method=writes, size=sizes, more=sizes)
    def contradict(self, session: Session, method: str, size: int, more: int) -> None:
        """A chunk whose two headers disagree is refused before a byte of it is taken."""
        address = finishing(session.location, digest_of(session.held))
        answer = self.wire.ask(method, address, session.at(0, size), _range(session.offset, size + more))
        assert (answer.status, answer.code) == (400, "SIZE_INVALID")

    @rule(session=consumes(sessions), method=writes, size=sizes, announced=sizes)
    def miscount(self, session: Session, method: str, size: int, announced: int) -> None:
        """A streamed chunk that turns out shorter or longer than its range ends the session."""
        chunk = session.at(session.offset, size)
        if len(chunk) == announced:
            announced += 1
        address = finishing(session.location, digest_of(session.held + chunk))
        answer = self.wire.ask(method, address, iter([chunk]), _range(session.offset, announced))
        assert (answer.status, answer.code) == (400, "SIZE_INVALID")
        self._ended(session)

    @rule(session=sessions, method=writes, size=sizes, both=st.booleans())
    def vanish(self, session: Session, method: str, size: int, *, both: bool) -> None:
        """A client is gone in mid-chunk, maybe the daemon too; what arrived is told and may be continued."""
        if session.offset < 2:  # `0-0` would not tell what arrived
            self.stream(session, 2, [])
        chunk = session.at(session.offset, size)
        address = finishing(session.location, digest_of(session.held + chunk))
        self.wire.hang_up(method, address, len(chunk) + 1, chunk)
        if both:
            self._kill()
        until(lambda: self.wire.ask("PATCH", session.location, b"").status == 202, "the session is free again")
        arrived = int(self._status(session).headers["Range"].removeprefix("0-")) + 1
        assert session.offset <= arrived <= session.offset + len(chunk)
        session.offset = arrived

    @rule(session=consumes(sessions))
    def cancel(self, session: Session) -> None:
        """A client gives up."""
        assert self.wire.ask("DELETE", session.location).status == 204
        self._ended(session)

    @rule(session=consumes(sessions), size=st.just(0) | sizes, placed=st.booleans())
    def finish(self, session: Session, size: int, *, placed: bool) -> None:
        """With the right digest, the blob is the model's bytes, with a last chunk or without one."""
        chunk = session.at(session.offset, size)
        session.offset += len(chunk)
        digest = digest_of(session.held)
        headers = _range(session.offset - len(chunk), len(chunk)) if chunk and placed else {}
        assert self.wire.ask("PUT", finishing(session.location, digest), chunk, headers).status == 201
        self.open.remove(session)
        self.contents.add(digest)
        assert self.wire.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}").body == session.held
        assert self._status(session).code == "BLOB_UPLOAD_UNKNOWN"

    @rule(session=consumes(sessions), size=st.just(0) | sizes, known=st.booleans())
    def claim(self, session: Session, size: int, *, known: bool) -> None:
        """With another digest, of a blob that is there or of nothing, the request is refused and the session over."""
        chunk = session.at(session.offset, size)
        others = self.contents - {digest_of(session.held + chunk)} if known else set()
        wrong = min(others, default=digest_of(b"never pushed"))
        answer = self.wire.ask("PUT", finishing(session.location, wrong), chunk)
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
        self._ended(session)

    @rule()
    def kill(self) -> None:
        """The daemon dies between two requests, and comes back."""
        self._kill()

    @invariant()
    def every_session_tells_how_far_it_is(self) -> None:
        """A status is the model's, whatever happened, and asking changes nothing."""
        for session in self.open:
            answer = self._status(session)
            assert (answer.status, answer.headers["Range"]) == (204, session.progress)

    def teardown(self) -> None:
        """What was cancelled or refused has left nothing, and nothing was stored but the model's blobs."""
        for session in self.open:
            self.wire.ask("DELETE", session.location)
        dropped = {f"registry-mirror/upload/{session.id}" for session in [*self.open, *self.dropped]}
        assert not dropped & (self.containerd.leases() | self.containerd.ingests())
        assert not {session.id for session in self.dropped} & self._journalled()
        assert self.containerd.contents() == self.contents

    def _taken(self, session: Session, chunk: bytes, answer: Answer) -> None:
        session.offset += len(chunk)
        assert (answer.status, answer.headers["Range"]) == (202, session.progress)

    def _ended(self, session: Session) -> None:
        self.open.remove(session)
        self.dropped.append(session)
        assert self._status(session).code == "BLOB_UPLOAD_UNKNOWN"

    def _status(self, session: Session) -> Answer:
        return self.wire.ask("GET", session.location)

    def _kill(self) -> None:
        """Once an example, as it takes a second; and not in the short ones, of which there are many."""
        if not self.killed and len(self.open + self.dropped) > AT_ONCE:
            self.killed = True
            self.daemon.kill()
            self.daemon.start()

    def _journalled(self) -> set[str]:
        journal = sqlite3.connect(f"file:{self.daemon.directory}/journal.db?mode=ro", uri=True)
        try:
            return {row[0] for row in journal.execute("SELECT id FROM uploads")}
        finally:
            journal.close()


def _range(start: int, size: int) -> dict[str, str]:
    return {"Content-Range": f"{start}-{start + size - 1}"}


def _pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    start = 0
    for cut in sorted({cut for cut in cuts if cut < len(data)}):
        yield data[start:cut]
        start = cut
    yield data[start:]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("examples", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_sessions_do_what_the_model_does(examples: int, daemon: Daemon, containerd: Containerd) -> None:
    """Random splits, replays, gaps, false lengths and digests, lost clients and kills: nothing but the model's bytes.

    In CI, Hypothesis' own profile for it makes each run the same.
    """

    class OnThisDaemon(Sessions):
        def __init__(self) -> None:
            super().__init__(daemon, containerd)

    chosen = settings(max_examples=examples, stateful_step_count=STEPS, deadline=None, print_blob=True)
    run_state_machine_as_test(OnThisDaemon, settings=chosen)
