"""The journal: the only state that is ours. SQLite, one thread, every change in one durable transaction."""
