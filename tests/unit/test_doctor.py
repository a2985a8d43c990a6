"""How the checks of `registry-mirror doctor` are made, and what is read from what others print."""

import asyncio
import json
import threading
from collections.abc import Mapping

import pytest

from mirror.cli.doctor.checks import Check, Finding, Result, Verdict, broken, ok, warning
from mirror.cli.doctor.daemon import unit_finding
from mirror.cli.doctor.host import long_link
from mirror.cli.doctor.rendering import tell, tell_json
from mirror.cli.doctor.runner import examine
from mirror.cli.doctor.upstream import UpstreamChecks
from mirror.config import Upstream


def _well() -> Finding:
    return ok("well")


async def test_dependence() -> None:
    """What needs something that is broken is skipped, and so is what needs that; what only waits for it is not."""
    seen: list[str] = []

    def late() -> Finding:
        seen.append("late")
        return _well()

    async def bad() -> Finding:
        await asyncio.sleep(0.05)
        seen.append("bad")
        return broken("bad", "mend it")

    results = await examine(
        [
            Check("a.bad", bad, "one"),
            Check("a.needs", _well, needs=["a.bad one"]),
            Check("a.needs that", _well, needs=["a.needs"]),
            Check("a.waits", late, after=["a.bad one"]),
            Check("a.warned", lambda: warning("so", "do")),
            Check("a.needs a warning", _well, needs=["a.warned"]),
        ]
    )
    verdicts = [result.finding.verdict for result in results]
    assert verdicts == ["broken", "skipped", "skipped", "ok", "warning", "ok"]
    assert results[1].finding.seen == "not looked at, because of a.bad one"
    assert seen == ["bad", "late"]


async def test_what_hangs() -> None:
    """A thread that never comes back, and one that is too late for all, hold up nobody; both are said."""
    never = threading.Event()

    def hang() -> Finding:
        never.wait()
        return _well()

    results = await examine(
        [
            Check("a.hangs", hang, seconds=0.05),
            Check("b.hangs", hang, seconds=3600),
            Check("c.well", _well),
            Check("d.needs", _well, needs=["b.hangs"]),
        ],
        within=0.3,
    )
    never.set()
    assert [result.finding.verdict for result in results] == ["broken", "broken", "ok", "skipped"]
    assert "no answer within" in results[1].finding.seen


async def test_a_check_that_fails_itself() -> None:
    """That is a fault of ours, which hides nothing that the others found."""
    results = await examine([Check("a.faulty", lambda: ok(str(1 // 0))), Check("a.well", _well)])
    assert [result.finding.verdict for result in results] == ["warning", "ok"]
    assert "ZeroDivisionError" in results[0].finding.seen


@pytest.mark.parametrize(
    ("facts", "verdict", "word"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive"}, Verdict.HINT, "install"),
        ({"LoadState": "loaded", "ActiveState": "failed", "ExecMainStatus": "4"}, Verdict.HINT, "journal is damaged"),
        (
            {"LoadState": "loaded", "ActiveState": "failed", "ExecMainStatus": "9", "Result": "oom-kill"},
            Verdict.HINT,
            "oom-kill",
        ),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"}, Verdict.HINT, "enable"),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}, Verdict.OK, "active"),
    ],
)
def test_the_unit(facts: Mapping[str, str], verdict: Verdict, word: str) -> None:
    """What systemd's properties come to, which is never more than a hint."""
    finding = unit_finding(facts)
    assert finding.verdict is verdict
    assert word in finding.seen + finding.remedy


def test_a_long_link() -> None:
    """By the round trip: near by nothing is to be done; far away it is said what the kernel should allow."""
    upstream = UpstreamChecks("a.test", Upstream(url="https://a.test"), None)
    upstream.took = 0.0001
    assert long_link(upstream).verdict is Verdict.OK
    upstream.took = 5.0
    finding = long_link(upstream)
    assert finding.verdict is Verdict.HINT
    assert "5000 ms away" in finding.seen
    # 5 s of 1 Gbit/s are 625 MB, and 0.6 of a buffer is data.
    assert f"net.ipv4.tcp_wmem='4096 131072 {994 << 20}'" in finding.remedy
    assert "tcp_rmem" not in finding.remedy


def test_telling(capsys: pytest.CaptureFixture[str]) -> None:
    """A word beside each sign, what to do below, and nothing that a terminal would obey; the same in JSON."""
    results = [Result(Check("upstream.name", _well, "a.test"), broken("\x1b[2Jgone", "find it"))]
    tell(results)
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "upstream",
        "  ✗ broken   name a.test:  [2Jgone",
        "             → find it",
        "1 broken",
    ]
    tell_json(results)
    [told] = json.loads(capsys.readouterr().out)["checks"]
    assert (told["check"], told["about"], told["verdict"]) == ("upstream.name", "a.test", "broken")
