"""`registry-mirror setup`: clients that come to the daemon first."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import click

from mirror.cli.described import mirror_at, registries
from mirror.cli.exits import BAD_SETTINGS
from mirror.cli.options import config_option, settings_or_exit
from mirror.cli.placed import NotOursError, PlacedFiles
from mirror.cli.recipes import RECIPES, Recipe
from mirror.cli.screen import fail, note, show, show_json
from mirror.config import Listener, Settings


@click.command()
@click.argument("tool", type=click.Choice(list(RECIPES)))
@click.option("--write", "action", flag_value="write", help="Write the files, none of which may be somebody else's.")
@click.option("--undo", "action", flag_value="undo", help="Remove the files that were written.")
@click.option("--listener", metavar="NAME", help="Where clients are to go, of several listeners.")
@click.option("--address", metavar="HOST:PORT", help="How clients reach that listener, if not by what it listens on.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The authority of the listener's certificate, if it is none of the system's.",
)
@click.option("--push", is_flag=True, help="Have them push here, too: containerd, and BuildKit with such mirrors.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/",
    show_default=True,
    help="The file system that files are written into.",
)
@click.option("--json", "as_json", is_flag=True, help="Print files, or what became of them, and notes as JSON.")
@config_option
def setup(  # noqa: PLR0913 - each option by name
    tool: str,
    path: Path,
    root: Path,
    *,
    action: str | None,
    listener: str | None,
    address: str | None,
    ca: Path | None,
    push: bool,
    as_json: bool,
) -> None:
    """Print the files by which TOOL on this host, or in a builder, comes to the daemon before it goes to a registry.

    With --write they are written, unless one of them is somebody else's or was changed since: then none is, and the
    exit code is 1. What there is to do beside that is said on standard error.
    """
    settings = settings_or_exit(path)
    placed = PlacedFiles(root, PurePosixPath(settings.journal.path.parent.absolute()) / "setup.json")
    try:
        if action == "undo":
            _say("removed", placed.undo(tool), [], as_json=as_json)
            return
        mirror = mirror_at(_listener(settings, listener), address, ca, push=push)
        recipe = RECIPES[tool](mirror, registries(settings))
        if action == "write":
            _say("written", placed.write(tool, recipe.files), recipe.notes, as_json=as_json)
        else:
            _print(recipe, as_json=as_json)
    except (NotOursError, OSError) as error:
        fail(str(error))


def _listener(settings: Settings, name: str | None) -> Listener:
    """The listener of that name, or the only one that clients can be told of; or exit code 2."""
    found = {key: each for key, each in settings.listeners.items() if not each.socket and name in {None, key}}
    if len(found) != 1:
        known = ", ".join(key for key, each in settings.listeners.items() if not each.socket) or "none on TCP"
        fail(f"--listener must be one of the listeners: {known}", BAD_SETTINGS)
    return next(iter(found.values()))


def _say(what: str, paths: Sequence[PurePosixPath], notes: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        show_json({what: [str(path) for path in paths], "notes": list(notes)})
        return
    show(*([f"{what}: {path}" for path in paths] or ["nothing to do"]))
    _note(notes)


def _print(recipe: Recipe, *, as_json: bool) -> None:
    if as_json:
        show_json({"files": {str(path): text for path, text in recipe.files.items()}, "notes": list(recipe.notes)})
        return
    for path, text in recipe.files.items():
        click.echo(f"# {path}\n{text}")  # as it is to stand in the file, on a terminal too
    _note(recipe.notes)


def _note(notes: Sequence[str]) -> None:
    for text in notes:
        note(f"note: {text}")
