"""`registry-mirror completion`: what a shell needs to complete its words."""

import os
from typing import ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from mirror.cli import COMPLETE_VARIABLE

# bash breaks words at colons and the like, of which references have some: so the line is told, and of what comes back
# goes what stands before the last of these.
_BASH = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} breaks=${COMP_WORDBREAKS//[^@=:]/} word prefix= type value
    word=${line##*[[:space:]]}
    [ -z "$breaks" ] || prefix=${word%%"${word##*[$breaks]}"}
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("${value#"$prefix"}") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(COMP_LINE=$line %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class Bash(ShellComplete):
    """In the place of click's own, which takes the parts of a reference for words."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being typed, and that."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        return (words, "") if line[-1:].isspace() or not words else (words[:-1], words[-1])

    def format_completion(self, item: CompletionItem) -> str:
        """As the script reads it."""
        return f"{item.type},{item.value}"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, options, images and jobs.

    For bash it belongs into /usr/share/bash-completion/completions/registry-mirror, for zsh into a directory of its
    fpath as _registry-mirror, for fish into /usr/share/fish/vendor_completions.d/registry-mirror.fish.
    """
    root = ctx.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows nothing of {shell}")
    click.echo(kind(root.command, {}, "registry-mirror", COMPLETE_VARIABLE).source().rstrip())
