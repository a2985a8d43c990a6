"""The `registry-mirror` command: argv → settings → app, and the operator's questions to a running daemon."""

import os
from importlib import import_module

import click

from mirror import __version__

COMPLETE_VARIABLE = "_REGISTRY_MIRROR_COMPLETE"
"""By which a shell's script asks for completions, in the words of click."""

# Each in a module of its own name.
_COMMANDS = frozenset(
    {
        "check",
        "completion",
        "config",
        "convert",
        "doctor",
        "drain",
        "evict",
        "images",
        "inspect",
        "jobs",
        "limits",
        "push",
        "serve",
        "setup",
        "status",
        "wait",
    }
)


class _Commands(click.Group):
    """Imports a command when it is asked for: what `serve` needs takes longer to import than `status` to answer."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f"mirror.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="registry-mirror")
def main() -> None:
    """Push container images straight into the host's containerd; they reach the central registry afterwards."""


if COMPLETE_VARIABLE in os.environ:
    import_module("mirror.cli.completion")  # bash is asked about in a way of our own
