"""`registry-mirror doctor`: the command."""

import asyncio
import logging
import sys
from pathlib import Path

import click
import structlog

from mirror.cli.doctor.checks import Verdict
from mirror.cli.exits import BAD_SETTINGS, FAILED
from mirror.cli.options import config_option, json_option
from mirror.oci.errors import RegistryError


@click.command()
@click.option("--repository", metavar="NAME", help="Ask the upstream of this repository whether we may push there.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    show_default=True,
    help="The file system that the clients' files are looked for in.",
)
@json_option
@config_option
def doctor(path: Path, root: Path, repository: str | None, *, as_json: bool) -> None:
    """Look at all that the daemon depends on, whether it runs or not, and say what is wrong and what to do about it.

    Nothing is changed. Run it as root: what this user may not look at is skipped. With --repository an upload is begun
    upstream, and given up.

    Exit code 0: nothing is broken. 1: something is. 2: the settings cannot be used.
    """
    # They take longer to import than most of the other commands to run.
    from mirror.cli.doctor.rendering import tell, tell_json  # noqa: PLC0415
    from mirror.cli.doctor.runner import examine  # noqa: PLC0415
    from mirror.cli.doctor.subjects import Subjects  # noqa: PLC0415

    # What the rooms would log is what the checks say themselves.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable()
    subjects = Subjects(path, root, repository)
    try:
        checks = subjects.checks()
    except RegistryError as error:
        raise click.UsageError(f"--repository: {error.detail}") from error
    results = asyncio.run(examine(checks))
    (tell_json if as_json else tell)(results)
    if subjects.settings is None:
        sys.exit(BAD_SETTINGS)
    if any(result.finding.verdict is Verdict.BROKEN for result in results):
        sys.exit(FAILED)
