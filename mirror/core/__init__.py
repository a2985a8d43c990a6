"""The rules and use cases: pushing, unpacking, replicating. No I/O of its own; it speaks through `ports`."""
