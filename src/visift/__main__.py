"""`python -m visift`."""

from visift.cli.main import main

if __name__ == "__main__":
    main()
