"""The manual is made from the commands, and is what docs/cli.md says."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from mirror.cli import exits, main
from mirror.cli.manual import man, markdown

ROOT = Path(__file__).parents[2]


def test_the_reference_is_up_to_date() -> None:
    """If this fails: python -m mirror.cli.manual markdown > docs/cli.md."""
    assert (ROOT / "docs/cli.md").read_text() == markdown()


def test_the_page_is_good_roff(tmp_path: Path) -> None:
    """It has a date nowhere, so that the same source makes the same page; nothing else is amiss."""
    page = tmp_path / "registry-mirror.1"
    page.write_text(man())
    said = subprocess.run(["mandoc", "-Tlint", "-W", "warning", page], capture_output=True, text=True, check=False)
    assert [line for line in said.stdout.splitlines() if "missing date" not in line] == []
    shown = subprocess.run(["mandoc", "-Tutf8", page], capture_output=True, text=True, check=True).stdout
    shown = re.sub(".\b", "", shown)  # how bold is printed
    for text in ("registry-mirror jobs show [OPTION]... ID", "--timeout NUMBER", "drain --undo", "EXIT STATUS"):
        assert text in shown


def test_every_command_says_what_it_does() -> None:
    """Each has a help, and so has each of its options; those with an answer have it as JSON."""
    ctx = click.Context(main)
    for name in main.list_commands(ctx):
        command = main.get_command(ctx, name)
        assert command is not None
        assert command.help, name
        commands = command.commands.values() if isinstance(command, click.Group) else [command]
        for each in commands:
            options = [param for param in each.params if isinstance(param, click.Option)]
            assert all(option.help for option in options), each.name
            assert name in {"serve", "completion"} or any("--json" in option.opts for option in options), each.name


@pytest.mark.parametrize("name", ["FINE", "FAILED", "BAD_SETTINGS", "TIMED_OUT", "DAMAGED"])
def test_every_exit_code_is_told(name: str) -> None:
    """The table has each of them."""
    assert exits.MEANINGS[getattr(exits, name)]
    assert len(exits.MEANINGS) == 5
