"""What values can be. `Meta.extra` says what no limit can: the unit, and whether a path is that of a file to read."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

SECONDS = {"unit": "seconds"}
BYTES = {"unit": "bytes"}

Seconds = Annotated[float, Meta(gt=0, extra=SECONDS)]
Duration = Annotated[float, Meta(ge=0, extra=SECONDS)]
Bytes = Annotated[int, Meta(ge=0, extra=BYTES)]
Rate = Annotated[int, Meta(ge=0, extra={"unit": "bytes per second"})]
Percent = Annotated[int, Meta(ge=1, le=100, extra={"unit": "percent"})]
AtOnce = Annotated[int, Meta(ge=1, le=64)]
Count = Annotated[int, Meta(ge=0)]
Most = Annotated[int, Meta(ge=1)]
Text = Annotated[str, Meta(min_length=1)]
File = Annotated[Path, Meta(extra={"file": True})]
SecretFile = Annotated[Path, Meta(extra={"file": True, "secret": True})]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a key that it does not know is an error, not a typo that goes unnoticed.

    The text below each key is its description, and may end with `Example:` and a value in TOML, for a key that has no
    default; `mirror.config.describe` reads both. A key that is itself a table is described by the table's class.
    """
