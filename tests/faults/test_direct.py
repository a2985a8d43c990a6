"""What dies between the steps by which a file becomes a blob: it is linked into the store, then it is registered."""

from threading import Thread

import pytest

from tests.faults.host import Pushed
from tests.faults.way import Way
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing

DIRECT: dict[str, dict[str, object]] = {"containerd": {"import": "direct"}}
SIZE = 4_000_000
BACK = 30.0

pytestmark = [pytest.mark.containerd, pytest.mark.parametrize("settings", [DIRECT])]


class Pushing:
    """A push of a blob that has linked its file, and waits for a containerd that hangs to register it."""

    def __init__(self, way: Way) -> None:
        self.data = Pushed.fresh(SIZE).layer
        self.digest = digest_of(self.data)
        self.wire = Wire(way.daemon.url)
        self.location = self.wire.begin("team/app")
        self.answers: list[Answer] = []
        self._containerd = way.containerd
        assert self.wire.ask("PATCH", self.location, self.data).status == 202
        way.containerd.pause()
        self._last = Thread(target=self._finish)
        self._last.start()
        until(self.is_linked, "the file is linked")

    def is_linked(self) -> bool:
        """Whether the file is among the blobs."""
        return (self._containerd.store / "blobs/sha256" / self.digest.partition(":")[2]).exists()

    def _finish(self) -> None:
        try:
            self.answers.append(self.finish())
        except OSError:  # the daemon was killed
            return

    def finish(self) -> Answer:
        """Send the last request, which has no bytes."""
        return self.wire.ask("PUT", finishing(self.location, self.digest), b"")

    def join(self) -> None:
        """Wait for the end of the push that was begun."""
        self._last.join()

    def is_as_long(self) -> bool:
        """Whether the session has all bytes."""
        return self.wire.ask("GET", self.location).headers.get("Range") == f"0-{SIZE - 1}"

    def is_stored(self) -> bool:
        """Whether the blob is here, with its bytes, after all garbage has gone."""
        self._containerd.collect_garbage()
        answer = self.wire.ask("GET", f"/v2/team/app/blobs/{self.digest}")
        return answer.status == 200 and answer.body == self.data


def test_the_daemon_is_killed_before_the_registration(way: Way) -> None:
    """The session still has all bytes, and its last request succeeds when it comes again."""
    push = Pushing(way)
    way.daemon.kill()
    push.join()
    way.containerd.resume()
    way.daemon.start()
    until(push.is_as_long, "the session is as it was", BACK)
    assert until(lambda: push.finish().status == 201, "the blob is taken", BACK)
    assert push.is_stored()


def test_containerd_is_killed_before_the_registration(way: Way) -> None:
    """The push is a 503 that says when to come back, and succeeds then."""
    push = Pushing(way)
    way.containerd.kill()
    push.join()
    assert (push.answers[0].status, push.answers[0].code) == (503, "UNAVAILABLE")
    way.containerd.start()
    until(push.is_as_long, "the session is as it was", BACK)
    assert until(lambda: push.finish().status == 201, "the blob is taken", BACK)
    assert push.is_stored()


def test_what_was_linked_and_is_given_up(way: Way) -> None:
    """Without the client the session goes, and the file among the blobs with the next garbage."""
    push = Pushing(way)
    way.daemon.kill()
    push.join()
    way.containerd.resume()
    way.daemon.start()
    until(lambda: push.wire.ask("DELETE", push.location).status == 204, "the session is over", BACK)
    assert not way.containerd.ingests()
    with way.containerd.log.open("rb") as garbage:
        way.containerd.ctr("content", "ingest", "garbage", stdin=garbage)
    until(lambda: push.is_stored() or not push.is_linked(), "the file goes")
    assert push.digest not in way.containerd.contents()


def test_the_store_cannot_be_linked_into(way: Way) -> None:
    """Where only the direct way is wanted, uploads are refused with the reason, and so it says that it is not ready."""
    until(way.containerd.spool.exists, "the way is chosen")
    _miss(way)
    root = way.containerd.spool.parent
    for directory in (way.containerd.spool, root):
        directory.rmdir()
    root.touch()
    way.containerd.start()
    reasons = until(lambda: _not_ready(way), "it says so", BACK)
    assert "Not a directory" in reasons[0]
    wire = Wire(way.daemon.url)
    answer = wire.ask("PATCH", wire.begin("team/app"), bytes(1000))
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    root.unlink()
    _miss(way)
    way.containerd.start()
    until(lambda: not _not_ready(way) and _begins(way), "uploads are taken", BACK)
    way.arrives(way.push())


def _not_ready(way: Way) -> list[str]:
    return [reason for reason in way.daemon.status()["not_ready"] if "direct import" in reason]


def _miss(way: Way) -> None:
    """Stop containerd, and let the daemon notice."""

    def noticed() -> int:
        return sum(line["event"] == "containerd.unavailable" for line in way.daemon.log_lines())

    before = noticed()
    way.containerd.stop()
    until(lambda: noticed() > before, "it is missed")


def _begins(way: Way) -> bool:
    return Wire(way.daemon.url).ask("POST", "/v2/team/app/blobs/uploads/").status == 202
