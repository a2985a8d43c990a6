"""The rules on their own: no sockets, no files but temporary ones, and time only where a test lets it pass."""
