"""`python -m mirror` is the `registry-mirror` command."""

from mirror.cli import main

if __name__ == "__main__":
    main()
