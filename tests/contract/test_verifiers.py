"""Those who are asked whether an image may be pushed: real commands and real sockets, well behaved and not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.core.access import ANONYMOUS, Principal
from mirror.core.errors import VerifierUnavailableError
from mirror.core.ports import Candidate, Verifier
from mirror.oci.manifest import OCI_MANIFEST, parse_manifest
from mirror.oci.names import Reference, Repository, digest_of
from mirror.verifiers.bounded import BoundedVerifier
from mirror.verifiers.command import CommandVerifier
from mirror.verifiers.service import ServiceVerifier
from tests.rig.until import until
from tests.rig.wire import manifest

RAW = json.dumps(json.loads(manifest(b"{}")) | {"x-padding": "ü\n" * 700_000}, indent=3, ensure_ascii=False).encode()
REPOSITORY = Repository("registry.example.com", "team/app")
ALICE = Principal("basic", "alice", "acme")
LONG = "x" * 10_000
SOON = 0.3

_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def candidate(principal: Principal = ANONYMOUS) -> Candidate:
    """A manifest of some megabytes, with all that JSON has to escape."""
    pushed = parse_manifest(RAW, OCI_MANIFEST)
    return Candidate(REPOSITORY, (Reference(None, pushed.digest), Reference("v1", None)), pushed, principal)


def check_question(raw: bytes) -> None:
    """It is one line that says everything, and the manifest in it still has its digest."""
    assert raw.index(b"\n") == len(raw) - 1
    told = json.loads(raw)
    assert digest_of(told.pop("manifest").encode()) == told["digest"] == digest_of(RAW)
    assert told == {
        "registry": "registry.example.com",
        "repository": "team/app",
        "references": [digest_of(RAW), "v1"],
        "digest": digest_of(RAW),
        "media_type": OCI_MANIFEST,
        "principal": "basic:alice",
        "tenant": "acme",
    }


def script(directory: Path, text: str) -> CommandVerifier:
    """A command: a shell script, and the directory as its argument."""
    path = directory / "verify"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return CommandVerifier([str(path), str(directory)])


def check_over(file: Path) -> None:
    """The process ends whose id is in a file; whether somebody has taken its status by then is not our business."""
    stat = Path("/proc", file.read_text().strip(), "stat")

    def is_over() -> bool:
        try:
            return stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    until(is_over, f"the {file.name} has ended")


@asynccontextmanager
async def service(path: Path, handler: _Handler) -> AsyncIterator[ServiceVerifier]:
    """A service on a socket, that does as it is told with each connection."""

    async def around(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_unix_server(around, path, limit=2 * len(RAW))
    async with server:
        yield ServiceVerifier(path)


def saying(answer: bytes, heard: list[bytes] | None = None) -> _Handler:
    """A handler that reads the question, answers, and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readuntil(b"\n")
        if heard is not None:
            heard.append(line)
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return handle


async def undecided(verifier: Verifier) -> str:
    """Why there is no answer."""
    with pytest.raises(VerifierUnavailableError) as refusal:
        await verifier.ask(candidate())
    return str(refusal.value)


class TestCommand:
    async def test_what_it_is_told(self, tmp_path: Path) -> None:
        """The question is on its standard input, to the end."""
        assert await script(tmp_path, 'cat > "$1/asked"').ask(candidate(ALICE)) is None
        check_question((tmp_path / "asked").read_bytes())

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("exit 0", None),
            ("echo fine; exit 0", None),
            ("echo no signature; echo at all; exit 1", "no signature"),
            ("echo; echo '  no signature  '; exit 1", "no signature"),
            ("echo complaint >&2; exit 1", "no reason was given"),
            ("exit 1", "no reason was given"),
            (f"echo {LONG}; exit 1", LONG[:500]),
            ("head -c 10000000 /dev/zero | tr '\\0' x; exit 1", LONG[:500]),
            ("head -c 10000000 /dev/zero; exit 0", None),
            ("printf 'gar\\377bage'; exit 1", "gar\N{REPLACEMENT CHARACTER}bage"),
        ],
    )
    async def test_what_it_says(self, tmp_path: Path, text: str, reason: str | None) -> None:
        """Its status is the answer, and the first line of its output the reason, however much there is of that."""
        assert await script(tmp_path, text).ask(candidate()) == reason

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("echo secret; echo no key >&2; exit 2", "ended with 2: no key"),
            ("exec /no/such/thing", "ended with 127: "),
            ("kill -KILL $$", "ended with -9: "),
            ("kill -TERM $$", "ended with -15: "),
        ],
    )
    async def test_what_is_no_answer(self, tmp_path: Path, text: str, words: str) -> None:
        """Any other status, or a signal, is neither yes nor no; what it complained of is for the log."""
        reason = await undecided(script(tmp_path, text))
        assert f"{tmp_path}/verify: {words}" in reason
        assert "secret" not in reason

    async def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        """It is named, with what the system says."""
        missing, no_program = tmp_path / "missing", tmp_path / "file"
        no_program.write_text("exit 0")
        assert await undecided(CommandVerifier([str(missing)])) == f"{missing}: No such file or directory"
        assert await undecided(CommandVerifier([str(no_program)])) == f"{no_program}: Permission denied"

    async def test_its_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is none of ours, and neither is the directory."""
        monkeypatch.setenv("SECRET", "hunter2")
        reason = await script(tmp_path, "env | sed 's/=.*//' | sort | tr '\\n' ' '; exit 1").ask(candidate())
        assert set(str(reason).split()) <= {"LANG", "PATH", "PWD", "SHLVL", "OLDPWD", "_"}
        assert await script(tmp_path, "pwd; exit 1").ask(candidate()) == "/"

    async def test_a_child_that_it_leaves_behind(self, tmp_path: Path) -> None:
        """That its output is still open does not keep the answer, and the child ends with it."""
        assert await script(tmp_path, 'sleep 1000 & echo $! > "$1/child"; exit 0').ask(candidate()) is None
        check_over(tmp_path / "child")

    async def test_one_that_does_not_answer(self, tmp_path: Path) -> None:
        """When the time is over, so is it, with all that it started."""
        text = 'echo $$ > "$1/leader"; sleep 1000 & echo $! > "$1/child.new"; mv "$1/child.new" "$1/child"; wait'
        slow = script(tmp_path, text)
        for seconds in (SOON, 10 * SOON, 100 * SOON):  # on a busy machine it may not have got that far
            assert await undecided(BoundedVerifier(slow, seconds)) == f"no answer within {seconds:g} s"
            if (tmp_path / "child").exists():
                break
        for name in ("leader", "child"):
            check_over(tmp_path / name)

    async def test_a_push_that_is_given_up(self, tmp_path: Path) -> None:
        """Nothing of it goes on when nobody waits for the answer any more."""
        slow = script(tmp_path, 'sleep 1000 & echo $! > "$1/child.new"; mv "$1/child.new" "$1/child"; wait')
        asking = asyncio.ensure_future(slow.ask(candidate()))
        await asyncio.to_thread(until, (tmp_path / "child").exists, "it runs")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        check_over(tmp_path / "child")


class TestService:
    async def test_what_it_is_told(self, tmp_path: Path) -> None:
        """The question comes as one line."""
        heard: list[bytes] = []
        async with service(tmp_path / "s", saying(b'{"allow": true}\n', heard)) as verifier:
            assert await verifier.ask(candidate(ALICE)) is None
        check_question(heard[0])

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b'{"allow": true, "reason": "signed by alice"}\n', None),
            (b'{"allow": false, "reason": "no signature"}\n', "no signature"),
            (b'{"allow": false, "reason": "no signature", "by": "policy 7"}\n{"allow": true}\n', "no signature"),
            (b'{"allow": false}\n', "no reason was given"),
            (json.dumps({"allow": False, "reason": LONG}).encode() + b"\n", LONG[:500]),
        ],
    )
    async def test_what_it_says(self, tmp_path: Path, answer: bytes, reason: str | None) -> None:
        """Its first line is the answer."""
        async with service(tmp_path / "s", saying(answer)) as verifier:
            assert await verifier.ask(candidate()) == reason

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"", "it hung up without an answer"),
            (b'{"allow": true}', "it hung up without an answer"),
            (b"\n", "its answer is not what it should be"),
            (b"yes\n", "its answer is not what it should be"),
            (b"\xff\xff\n", "its answer is not what it should be"),
            (b"true\n", "its answer is not what it should be"),
            (b'{"reason": "fine"}\n', "its answer is not what it should be"),
            (b'{"allow": "true"}\n', "its answer is not what it should be"),
            (b'{"allow": true, "reason": null}\n', "its answer is not what it should be"),
            (b" " * 200_000 + b'{"allow": true}\n', "its answer has more than 65536 bytes"),
        ],
    )
    async def test_what_is_no_answer(self, tmp_path: Path, answer: bytes, words: str) -> None:
        """Garbage, too much and too little are neither yes nor no."""
        async with service(tmp_path / "s", saying(answer)) as verifier:
            assert (await undecided(verifier)).startswith(f"{tmp_path}/s: {words}")

    async def test_one_that_dies(self, tmp_path: Path) -> None:
        """A connection that breaks off while it is told is no answer."""

        async def die(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readexactly(1000)

        async with service(tmp_path / "s", die) as verifier:
            assert str(tmp_path / "s") in await undecided(verifier)

    async def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        """Neither is a socket that is missing, nor one that nobody listens at any more."""
        path = tmp_path / "s"
        assert await undecided(ServiceVerifier(path)) == f"{path}: No such file or directory"
        async with service(path, saying(b'{"allow": true}\n')):
            pass
        assert await undecided(ServiceVerifier(path)) == f"{path}: Connection refused"

    @pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not even read"])
    async def test_one_that_does_not_answer(self, tmp_path: Path, *, reads: bool) -> None:
        """When the time is over the connection is, too."""
        gone = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if reads:
                await reader.read()
            else:
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a read transport, too
                await gone.wait()
            gone.set()

        async with service(tmp_path / "s", hang) as verifier:
            assert await undecided(BoundedVerifier(verifier, SOON)) == "no answer within 0.3 s"
            if reads:
                await gone.wait()
            gone.set()

    async def test_a_few_at_once(self, tmp_path: Path) -> None:
        """Four are asked together, no more; the others have their turn when one is answered."""
        running, most, full = 0, 0, asyncio.Event()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 4:
                full.set()
            await full.wait()
            await reader.readuntil(b"\n")
            running -= 1
            writer.write(b'{"allow": true}\n')
            await writer.drain()

        async with service(tmp_path / "s", count) as verifier:
            bounded = BoundedVerifier(verifier, 60.0)
            assert await asyncio.gather(*(bounded.ask(candidate()) for _ in range(12))) == [None] * 12
        assert most == 4
