"""The process itself: clock, tasks, systemd, logs. The one room that may touch real time and start tasks."""
