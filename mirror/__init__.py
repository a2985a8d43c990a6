"""registry-mirror: push container images straight into the host's containerd, replicate them afterwards."""

__version__ = "0.1.0"
