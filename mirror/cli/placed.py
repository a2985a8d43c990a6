"""The files that `registry-mirror setup` wrote, so that it never touches those of others."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath


class NotOursError(Exception):
    """A file is somebody else's, or was changed by somebody else; the text names it."""


class PlacedFiles:
    """Files below `root`, and the record of what was written into each: its digest.

    Not a mark in the files themselves: not all formats have comments, and what was edited would still bear it.
    """

    def __init__(self, root: Path, record: PurePosixPath) -> None:
        self._root = root
        self._record = self._at(record)

    def write(self, tool: str, files: Mapping[PurePosixPath, str]) -> list[PurePosixPath]:
        """Write all of them or none; what the tool does not need any more goes. Returns what changed.

        Raises:
            NotOursError: something else is there.
            OSError.
        """
        known = self._read()
        ours = known.get(tool, {})
        for path, text in files.items():
            there = self._digest(path)
            if there not in {None, ours.get(str(path)), _digest(text.encode())}:
                raise NotOursError(f"{path} is not what setup wrote: merge it by hand, or remove it first")
        changed = [path for path, text in files.items() if self._digest(path) != _digest(text.encode())]
        made = {path for path in files if path in changed or str(path) in ours}
        known[tool] = ours | {str(path): _digest(files[path].encode()) for path in made}
        self._write(known)  # first: what is on the disk and not in the record could never be undone
        for path in changed:
            _replace(self._at(path), files[path])
        return changed + self._remove(tool, {path for path in ours if PurePosixPath(path) not in files})

    def undo(self, tool: str) -> list[PurePosixPath]:
        """Remove what was written for a tool; returns what went.

        Raises:
            NotOursError: somebody changed one of them since; nothing is removed then.
            OSError.
        """
        return self._remove(tool, set(self._read().get(tool, {})))

    def changed(self) -> list[PurePosixPath]:
        """Which of the files that were written are gone, or are not any more what was written. Raises OSError."""
        written = {path: digest for files in self._read().values() for path, digest in files.items()}
        return [path for name, digest in written.items() if self._digest(path := PurePosixPath(name)) != digest]

    def _remove(self, tool: str, paths: set[str]) -> list[PurePosixPath]:
        known = self._read()
        ours = known.get(tool, {})
        there = {PurePosixPath(path): self._digest(PurePosixPath(path)) for path in sorted(paths)}
        for path, digest in there.items():
            if digest not in {None, ours[str(path)]}:
                raise NotOursError(f"{path} was changed since setup wrote it: remove it by hand")
        gone = [path for path, digest in there.items() if digest]
        for path in gone:
            self._at(path).unlink()
            _remove_empty(self._at(path).parent)
        known[tool] = {name: digest for name, digest in ours.items() if name not in paths}
        self._write({name: files for name, files in known.items() if files})
        return gone

    def _read(self) -> dict[str, dict[str, str]]:
        if not self._record.exists():
            return {}
        known: dict[str, dict[str, str]] = json.loads(self._record.read_text())
        return known

    def _write(self, known: Mapping[str, Mapping[str, str]]) -> None:
        if known or self._record.exists():
            _replace(self._record, json.dumps(known, indent=2) + "\n")

    def _digest(self, path: PurePosixPath) -> str | None:
        try:
            return _digest(self._at(path).read_bytes())
        except FileNotFoundError:
            return None

    def _at(self, path: PurePosixPath) -> Path:
        return self._root / path.relative_to("/")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, text: str) -> None:
    """Write a file that others read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(0o644)
    new.replace(path)


def _remove_empty(directory: Path) -> None:
    """Remove a directory that was one file's alone, such as that of a registry in certs.d."""
    if directory.parent.name == "certs.d" and not any(directory.iterdir()):
        directory.rmdir()
