"""`python -m bench [--dry-run] [NAME [argument…]]`: one benchmark, or all of them, each at its full size.

Each prints its tables and writes them to `bench/results`, draws `docs/figures/<name>.svg`, and renews the table of
targets in the README; with `--dry-run` it only prints. `python -m bench NAME --help` tells its arguments.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import chart, deploy, growth, load, memory, pull, push, replication, restart, standings, unpack, wan, zstd
from bench.report import Report

_PROGRAMS: Mapping[str, Callable[[Sequence[str]], Report]] = {
    "push": push.main,
    "pull": pull.main,
    "restart": restart.main,
    "memory": memory.main,
    "replication": replication.main,
    "deploy": deploy.main,
    "load": load.main,
    "growth": growth.main,
    "unpack": unpack.main,
    "zstd": zstd.main,
    "wan": wan.main,
    "wan-replication": wan.main_of_replication,
}
_RESULTS = Path("bench/results")
_FIGURES = Path("docs/figures")
_README = Path("README.md")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements, each beside its peers.")
    parser.add_argument("--dry-run", action="store_true", help="only print, and write nothing")
    parser.add_argument("name", nargs="?", choices=list(_PROGRAMS), help="all when it is left out")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of that benchmark; --help tells them")
    asked = parser.parse_args()
    for name in [asked.name] if asked.name else _PROGRAMS:
        report = _PROGRAMS[name](asked.arguments)
        print(report.markdown(), flush=True)
        if not asked.dry_run:
            _write(report)


def _write(report: Report) -> None:
    report.write(_RESULTS)
    _FIGURES.mkdir(parents=True, exist_ok=True)
    (_FIGURES / f"{report.name}.svg").write_text(chart.draw(report))
    standings.renew(_README, _RESULTS)


if __name__ == "__main__":
    main()
