"""The room that speaks to the host's containerd over gRPC, and the only one that knows what its answers mean.

It implements the containerd half of `mirror.core.ports`. Whatever keeps containerd from doing its work (away, stalled,
disk full, a lease deleted under us) leaves this room as StoreUnavailableError; no gRPC type crosses its door.
"""
