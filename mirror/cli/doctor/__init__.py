"""`registry-mirror doctor`: what keeps this host from working as its settings say, and what to do about it.

A file for each subject, in which each check looks at one thing. None writes anything, but for an upload that is begun
upstream and given up where `--repository` asks for it.
"""

from mirror.cli.doctor.command import doctor

__all__ = ["doctor"]
