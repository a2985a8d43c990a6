"""The `registry-mirror` command: argv → settings → app, and the operator's questions to a running daemon."""

import click

from mirror import __version__
from mirror.cli.ask import status, wait
from mirror.cli.check import check
from mirror.cli.doctor.command import doctor
from mirror.cli.drain import drain
from mirror.cli.evict import evict
from mirror.cli.jobs import jobs
from mirror.cli.limits import limits
from mirror.cli.serve import serve
from mirror.cli.setup import setup


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="registry-mirror")
def main() -> None:
    """Push container images straight into the host's containerd; they reach the central registry afterwards."""


main.add_command(serve)
main.add_command(status)
main.add_command(wait)
main.add_command(jobs)
main.add_command(drain)
main.add_command(limits)
main.add_command(evict)
main.add_command(check)
main.add_command(setup)
main.add_command(doctor)
