"""What an image unpacks to, in all that can be told of a file."""

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.rig.containerd import Containerd
from tests.rig.images import Special


def special(path: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **fields: object) -> Special:
    """An entry of a tar, with these fields of its header."""
    header = tarfile.TarInfo(path)
    header.type = kind
    for name, value in fields.items():
        setattr(header, name, value)
    return Special(header, content)


EVERYTHING: Sequence[Special] = (
    special("dir", tarfile.DIRTYPE, mode=0o1777, mtime=1_000_000_000),
    special("dir/owned", uid=1234, gid=4321, mode=0o4751, mtime=1_234_567_890, content=b"setuid"),
    special("dir/hard", tarfile.LNKTYPE, linkname="dir/owned"),
    special("dir/symbolic", tarfile.SYMTYPE, linkname="../nowhere", mtime=1),
    special("dir/pipe", tarfile.FIFOTYPE, mode=0o600),
    special("dir/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    special(
        "dir/marked",
        content=b"x",
        pax_headers={"SCHILY.xattr.trusted.note": "said", "mtime": "1234567890.123456789"},
    ),
    special(f"dir/\u00fcber{120 * 'x'}", content=b"long"),
)
"""All that a layer can hold."""


@contextmanager
def mounted(containerd: Containerd, image: str, directory: Path) -> Iterator[Path]:
    """The file system of an image that is unpacked there."""
    directory.mkdir()
    containerd.ctr("images", "mount", "--snapshotter", containerd.snapshotter, image, str(directory))
    try:
        yield directory
    finally:
        containerd.ctr("images", "unmount", "--rm", "--snapshotter", containerd.snapshotter, str(directory))


def tree(root: Path) -> dict[str, object]:
    """Every path with mode, owner, time, device, target, attributes, content, and the first path it is linked to."""
    found: dict[str, object] = {}
    links: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name, status = str(path.relative_to(root)), path.lstat()
        found[name] = (
            status.st_mode,
            (status.st_uid, status.st_gid),
            status.st_mtime_ns,
            status.st_rdev,
            str(path.readlink()) if path.is_symlink() else "",
            {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)},
            hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else "",
            links.setdefault(status.st_ino, name),
        )
    return found
