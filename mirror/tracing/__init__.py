"""What is done in which order, and how long it takes, told to a collector. Imported where settings name one."""
