"""What the exit codes of all commands mean; the man page and docs/cli.md are made from this table."""

FINE = 0
FAILED = 1
BAD_SETTINGS = 2
TIMED_OUT = 3
DAMAGED = 4

MEANINGS = {
    FINE: "It is so, or it was done.",
    FAILED: "It is not so and will not be without help, it failed, or no daemon answers.",
    BAD_SETTINGS: "The command line or the settings are wrong.",
    TIMED_OUT: "It was not so in time.",
    DAMAGED: "`serve`: the journal is damaged. Another start does not help; the log says what does.",
}
