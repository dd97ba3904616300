"""Runs the `ghtrader` command as `python -m ghtrader`."""

from ghtrader.cli import main

if __name__ == "__main__":
    main()
