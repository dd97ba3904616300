"""`python -m ghtrader`: the same as the `ghtrader` command."""

from ghtrader.cli import main

if __name__ == "__main__":
    main()
