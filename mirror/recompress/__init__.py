"""Layers from gzip to zstd, in a process of its own that gets what nobody else wants of processors and disks."""
