"""Variants of images whose layers are zstd: smaller, and quicker to unpack where they are pulled."""
