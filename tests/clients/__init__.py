"""Real clients, of this Debian or of another, against the running daemon."""
