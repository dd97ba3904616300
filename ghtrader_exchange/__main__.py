"""Runs the exchange as a bare process, `python -m ghtrader_exchange`, the way `client` starts it."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from ghtrader_base.child_processes import die_with_parent
from ghtrader_base.errors import GhtraderError
from ghtrader_base.private_files import keep_private
from ghtrader_exchange.world.scenario import Scenario

ERROR_MARK = "# error "


def main(arguments: list[str] | None = None) -> int:
    """Parse, serve, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ghtrader_exchange", description="A simulated exchange for TqSdk.")
    parser.add_argument("--scenario", type=Path, help="TOML file; without it the default scenario")
    parser.add_argument("--state-dir", type=Path, required=True, help="where the history cache and truth are kept")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--speed", type=float, default=20.0, help="market seconds for each second")
    parser.add_argument("--run", action="store_true", help="let the clock run at once")
    parser.add_argument("--live-through-closed-hours", action="store_true", help="do not jump over lunch and night")
    parser.add_argument("--parent", type=int, default=0, help="end when this process, our parent, dies")
    given = parser.parse_args(arguments)
    if given.parent:
        die_with_parent(given.parent)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        from ghtrader_exchange.server import server

        scenario = Scenario.from_toml(given.scenario) if given.scenario else Scenario()
        closed = not given.live_through_closed_hours
        options = server.ServerOptions(
            scenario=scenario,
            state_dir=given.state_dir,
            port=given.port,
            speed=given.speed,
            frozen=not given.run,
            skip_closed=closed,
        )
        server.run(options, server.print_exports)
    except GhtraderError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        if given.parent:
            told = {"name": type(error).__name__, "message": error.message, "hint": error.hint}
            print(ERROR_MARK + json.dumps(told), flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    keep_private()
    sys.exit(main())
