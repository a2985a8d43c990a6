"""An in-memory containerd: as much of one as the ports of `mirror.core.ports.store` show.

It is true because the contract suite says so: each test of tests/contract that needs only the ports runs on it and on
a real containerd. So rules and models can use it where they need a store that is quick, that collects garbage at a
moment they choose, or that outlives a process they let die.

To learn how containerd keeps and loses things, read `state` (what there is) and then `garbage` (what of it stays).
What it leaves out: other namespaces and snapshotters, filesystems (layers are checked and not unpacked), and garbage
collections at a moment of its own.
"""
