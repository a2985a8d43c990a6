"""The HTTP side of the running daemon, on real containerd and a real upstream."""
