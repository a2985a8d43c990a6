"""What a benchmark found: each way's figures, ratios of one round each, and whether they are what was wanted."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec

from bench.measure import Figure

_MIB = 1 << 20


@dataclass(frozen=True)
class Spread:
    """Between which figures the median lies."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Self:
        """That of some figures."""
        return cls(min(figures), statistics.median(figures), max(figures))

    def __str__(self) -> str:
        if self.low == self.high:
            return amount(self.median)
        return f"{amount(self.median)} ({amount(self.low)} to {amount(self.high)})"


def amount(figure: float) -> str:
    """A figure with about three digits."""
    size = abs(figure)
    return f"{figure:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"  # noqa: PLR2004 - two and three digits


@dataclass(frozen=True)
class Faster:
    """The `way` is to be so many `times` as fast as the `peer`."""

    times: float
    peer: str
    way: str

    def spread(self, measure: "Measure") -> Spread:
        """How many times it is."""
        return measure.ratio(self.peer, self.way)

    def is_met(self, measure: "Measure") -> bool:
        """Whether it is so in the median."""
        return self.spread(measure).median >= self.times

    def words(self, _: str) -> str:
        """What is wanted, for people."""
        return f"{self.way}: at least {self.times:g} times as fast as {self.peer}"


@dataclass(frozen=True)
class Limit:
    """The `way` is to take no more than `most`, in the unit of its measure."""

    most: float
    way: str

    def spread(self, measure: "Measure") -> Spread:
        """How much it takes."""
        return Spread.of(measure.ways[self.way])

    def is_met(self, measure: "Measure") -> bool:
        """Whether it is so in the median."""
        return self.spread(measure).median <= self.most

    def words(self, unit: str) -> str:
        """What is wanted, for people."""
        return f"{self.way}: at most {self.most:g} {unit}"


Target = Faster | Limit


@dataclass(frozen=True)
class Measure:
    """What the `ways` took, round by round, in a `unit` of which less is better; the others are compared with `ours`.

    `processor` and `peak` are the medians of each way by process: seconds, and bytes.
    """

    name: str
    unit: str
    ways: Mapping[str, Sequence[float]]
    ours: str
    targets: Sequence[Target] = ()
    processor: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    peak: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def timed(cls, name: str, ways: Mapping[str, Sequence[Figure]], ours: str, targets: Sequence[Target] = ()) -> Self:
        """The seconds of whole figures, with what the processes took meanwhile."""
        return cls(
            name,
            "s",
            {way: [figure.seconds for figure in figures] for way, figures in ways.items()},
            ours,
            targets,
            {way: _medians([figure.processor for figure in figures]) for way, figures in ways.items()},
            {way: _medians([figure.peak for figure in figures]) for way, figures in ways.items()},
        )

    def ratio(self, peer: str, way: str) -> Spread:
        """How many times as much the `peer` takes as the `way`, each compared with the other of its round."""
        return Spread.of([theirs / ours for theirs, ours in zip(self.ways[peer], self.ways[way], strict=True)])

    def claims(self) -> Iterator[Target]:
        """The targets; those about ways that were not taken say nothing."""
        for target in self.targets:
            about = {target.way, target.peer} if isinstance(target, Faster) else {target.way}
            if about <= self.ways.keys():
                yield target


def _medians(rounds: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Of each process; one that was too short to be seen in a round is not in it."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: statistics.median(figures.get(name, 0) for figures in rounds) for name in names}


@dataclass(frozen=True)
class Report:
    """All that one program measured, on a `machine`; the `notes` say what one must know to read it."""

    name: str
    title: str
    machine: str
    measures: Sequence[Measure]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The tables, for people; their columns are straight in a terminal, too."""
        parts = [f"# {self.title}", self.machine, *self.notes]
        for measure in self.measures:
            parts += [f"## {measure.name}", table(_ways(measure))]
            if claims := [*measure.claims()]:
                parts.append(table(_claims(measure, claims)))
        return "\n\n".join(parts) + "\n"

    def json(self) -> bytes:
        """Every single figure, for programs, and what each target came to."""
        measures = [
            {
                **msgspec.to_builtins(measure),
                "targets": [
                    {
                        "target": target.words(measure.unit),
                        "measured": target.spread(measure),
                        "met": target.is_met(measure),
                    }
                    for target in measure.claims()
                ],
            }
            for measure in self.measures
        ]
        document = {**msgspec.to_builtins(self), "measures": measures}
        return msgspec.json.format(msgspec.json.encode(document)) + b"\n"

    def write(self, directory: Path) -> None:
        """Write both to files named after the program."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.json").write_bytes(self.json())
        (directory / f"{self.name}.md").write_text(self.markdown())


def table(rows: Iterator[Sequence[str]]) -> str:
    """A table of Markdown, without the columns that have nothing but a heading."""
    heading, *body = rows
    columns = [column for column in zip(heading, *body, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in zip(*columns, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ways(measure: Measure) -> Iterator[Sequence[str]]:
    yield "way", measure.unit, f"as a multiple of {measure.ours}", "processor, s", "peak memory, MiB"
    for way, figures in measure.ways.items():
        ratio = "" if way == measure.ours else str(measure.ratio(way, measure.ours))
        peaks = {name: peak / _MIB for name, peak in measure.peak.get(way, {}).items()}
        yield way, str(Spread.of(figures)), ratio, _listed(measure.processor.get(way, {})), _listed(peaks)


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount(figure)}" for name, figure in figures.items())


def _claims(measure: Measure, targets: Iterable[Target]) -> Iterator[Sequence[str]]:
    yield "target", "measured", "met"
    for target in targets:
        yield target.words(measure.unit), str(target.spread(measure)), "yes" if target.is_met(measure) else "no"
