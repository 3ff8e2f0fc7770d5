"""`python -m fastilp` is `fastilp`."""

from fastilp.cli.main import main

if __name__ == "__main__":
    main()
