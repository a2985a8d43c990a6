"""The manual, made from the commands themselves: `python -m mirror.cli.manual man` or `markdown` (docs/cli.md)."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

import click

from mirror import __version__
from mirror.cli import main
from mirror.cli.exits import MEANINGS

_NAME = "registry-mirror"
# So many commands have an option that is described once for all.
_COMMON = 3
_WIDTH = 120
_PRINTED = """
    At a terminal commands print tables and colours, and in a pipe a line for each row, without headings, and nothing is
    cut. With --json they print JSON, on which programs should rely alone. What goes wrong is a line on standard error
    that says what to do.
"""
_VALUES = {click.types.IntRange: "NUMBER", click.types.FloatRange: "NUMBER", click.types.Path: "PATH"}
_ENVIRONMENT = [
    ("REGISTRY_MIRROR_CONFIG", "The settings file, where --config does not name one."),
    ("NO_COLOR", "If it is set, nothing is printed in colour."),
]
_FILES = [
    ("/etc/registry-mirror/config.toml", "The settings. `admin.socket` of these is where commands ask the daemon."),
]

Terms = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the manual: text in paragraphs, then terms with what they mean. `usage` is a command line."""

    title: str
    text: Sequence[str] = ()
    terms: Terms = ()
    usage: str = ""
    is_command: bool = False


def manual() -> list[Section]:
    """All of it."""
    commands = dict(_commands(main, _NAME))
    counts = Counter(_term(option) for command in commands.values() for option in _options(command))
    common = {term for term, count in counts.items() if count >= _COMMON}
    return [
        Section("Description", [*_paragraphs(main.help or ""), _flowing(_PRINTED)]),
        Section("Options of most commands", terms=[*sorted(common), ("-h, --help", "Show what a command does.")]),
        Section("Commands"),
        *(_section(name, command, common) for name, command in commands.items()),
        Section("Exit status", terms=[(str(code), meaning) for code, meaning in MEANINGS.items()]),
        Section("Environment", terms=_ENVIRONMENT),
        Section("Files", terms=_FILES),
    ]


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by how it is called."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix} {name}")
        elif command and not command.hidden:
            yield f"{prefix} {name}", command


def _section(name: str, command: click.Command, common: set[tuple[str, str]]) -> Section:
    terms = [_term(option) for option in _options(command)]
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    usage = [name, "[OPTION]...", *(param.metavar or (param.name or "").upper() for param in arguments)]
    own = [term for term in terms if term not in common]
    return Section(
        name.removeprefix(f"{_NAME} "), _paragraphs(command.help or ""), own, " ".join(usage), is_command=True
    )


def _options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option) and not param.hidden]


def _term(option: click.Option) -> tuple[str, str]:
    """How an option is written, and what it does."""
    value = "" if option.is_flag else f" {_value(option)}"
    default = f" Default: {option.default}." if option.show_default and option.default is not None else ""
    return ", ".join(option.opts) + value, f"{option.help or ''}{default}"


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    return (
        "|".join(option.type.choices)
        if isinstance(option.type, click.Choice)
        else _VALUES.get(type(option.type), "TEXT")
    )


def _paragraphs(text: str) -> list[str]:
    return [_flowing(paragraph) for paragraph in text.split("\n\n")]


def _flowing(text: str) -> str:
    return " ".join(text.split())


def markdown() -> str:
    """The manual as it stands in docs/."""
    made = "Made from the commands by `python -m mirror.cli.manual markdown`, as is the man page by `… man`."
    lines = ["# The command line", "", made, ""]
    for section in manual():
        lines += [f"{'###' if section.is_command else '##'} {section.title}", ""]
        lines += ["```", section.usage, "```", ""] if section.usage else []
        for paragraph in section.text:
            lines += [*_wrapped(paragraph), ""]
        for term, meaning in section.terms:
            lines += _wrapped(f"- `{term}`: {meaning}", "  ")
        lines += [""] if section.terms else []
    return "\n".join(lines)


def man() -> str:
    """The same as a man page.

    Source: man(7).
    """
    lines = [f'.TH REGISTRY\\-MIRROR 1 "" "{_NAME} {__version__}"', ".SH NAME"]
    lines += [f"{_NAME} \\- push container images straight into the host\\(aqs containerd", ".SH SYNOPSIS"]
    lines += [f".B {_roff(_NAME)}", ".I COMMAND", "[OPTION]..."]
    for section in manual():
        lines.append(f'.SS "{_roff(section.title)}"' if section.is_command else f".SH {section.title.upper()}")
        lines += [f"\\fB{_roff(section.usage)}\\fR", ".PP"] if section.usage else []
        lines += [line for text in section.text for line in (".PP", *_flow(text))][1:]
        for term, meaning in section.terms:
            lines += [".TP", f"\\fB{_roff(term)}\\fR", *_flow(meaning)]
    return "\n".join([*lines, ""])


def _wrapped(text: str, indent: str = "") -> list[str]:
    return wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _flow(text: str) -> list[str]:
    """The lines of a paragraph for roff, none of which is taken for a request."""
    return [f"\\&{line}" if line.startswith(".") else line for line in _wrapped(_roff(text))]


def _roff(text: str) -> str:
    """Text for roff; what stands between backquotes is bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)


@click.command()
@click.argument("kind", type=click.Choice(["man", "markdown"]))
def command(kind: str) -> None:
    """Print the manual as a man page or as markdown."""
    click.echo({"man": man, "markdown": markdown}[kind](), nl=False)


if __name__ == "__main__":
    command()
