"""`registry-mirror limits`: how fast replication may go."""

import re
from pathlib import Path

import click

from mirror.cli.admin import Question, ask, socket_option
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import show, show_json

_FACTORS = {"G": 10**9, "M": 10**6, "k": 10**3, "": 1}


def _rate(text: str) -> int:
    """Bytes per second, from a number that may have a suffix for a power of 1000."""
    parts = re.fullmatch(r"([0-9]{1,18})([kMG]?)", text)
    if parts is None:
        raise click.BadParameter(f"{text!r} is no number of bytes per second, such as 500k or 20M.")
    return int(parts[1]) * _FACTORS[parts[2]]


@click.command()
@click.option("--upstream", metavar="NAME", help="Change the rate of this one, not of all together.")
@click.option(
    "--rate",
    type=_rate,
    metavar="BYTES",
    help="Per second, as 20000000 or 20M (k, M, G: powers of 1000); 0 is no limit.",
)
@json_option
@config_option
@socket_option
def limits(upstream: str | None, rate: int | None, path: Path, socket: Path | None, *, as_json: bool) -> None:
    """Show how fast images may go upstream: to all upstreams together, and to each. With --rate change it.

    A change counts at once, for what is under way too, and holds until the daemon starts again: then the settings
    `replication.rate` and `upstreams.<name>.rate` count.
    """
    if rate is None and upstream is not None:
        raise click.UsageError("--upstream says whose rate to change: give --rate too.")
    answer = ask(path, socket, Question("/limits") if rate is None else _change(upstream, rate))
    if as_json:
        show_json(answer)
        return
    show(f"all upstreams together: {_words(answer['shared'])}")
    show(*(f"{name}: {_words(own)}" for name, own in answer["upstreams"].items()))


def _change(upstream: str | None, rate: int) -> Question:
    whose = [("upstream", upstream)] if upstream is not None else []
    return Question("/limits", [*whose, ("rate", str(rate))], "POST")


def _words(rate: int) -> str:
    """A rate as people read it, and exact."""
    if not rate:
        return "no limit"
    suffix = next(suffix for suffix, factor in _FACTORS.items() if rate % factor == 0)
    return f"{rate // _FACTORS[suffix]} {suffix}B/s"
