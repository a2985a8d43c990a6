"""The whole way: real clients, a real daemon, real containerd, a real upstream."""
