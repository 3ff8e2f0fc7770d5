"""`python -m fastilp` is `fastilp`."""

from fastilp.cli.entry import main

if __name__ == "__main__":
    main()
