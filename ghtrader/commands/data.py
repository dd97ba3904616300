"""Defines `data contracts`, `data coverage`, `data l5-start` and `data origin`: what is in the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    SeriesOption,
    StartOption,
    VarietyOption,
    group,
    optional_day,
    series_of,
    settings_of,
    variety_key,
)
from ghtrader.output import emit, note, table
from ghtrader_base.errors import GhtraderError, IntegrityError, UsageError

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings
    from ghtrader_market.reference.tick_origin import TickOrigin
    from ghtrader_market.stores.lake.lake import Lake

OptionalVar = Annotated[
    str, typer.Option("--var", help="Variety, as its exchange writes it: cu, SR, IF ...; all with data where left out.")
]


def _ask_service(settings: Settings, lake: Lake, variety: str, must: bool) -> None:
    """Bring the kept contract list up to date; where it need not, say why it was not."""
    from ghtrader_market.inventory.contract_catalog import refresh
    from ghtrader_market.sources.tqsdk.source import TqSdkSource

    try:
        note(f"asking the service for the contracts of {variety}")
        with TqSdkSource(settings) as source:
            refresh(source, lake, variety)
    except GhtraderError as exc:
        if must:
            raise
        note(f"the service was not asked: {exc.message}; this is what is known without it")


def _register_contracts(data: typer.Typer) -> None:
    @data.command()
    def contracts(
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        refresh: Annotated[bool, typer.Option("--refresh", help="Ask the service even if it was asked today.")] = False,
        offline: Annotated[bool, typer.Option("--offline", help="Do not ask the service.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Every contract of a variety: its life, and how far its download is.

        not-downloaded, incomplete, complete, or stale (whole up to a day since which others have finished).
        Example: ghtrader data contracts --var cu --json
        """
        from datetime import UTC, datetime

        from ghtrader_market.inventory.contract_catalog import load_snapshot
        from ghtrader_market.inventory.coverage import Coverage
        from ghtrader_market.reference.trading_calendar import load_calendar
        from ghtrader_market.stores.lake.lake import Lake

        if refresh and offline:
            raise UsageError("--refresh asks the service and --offline does not", "choose one")
        settings, key = settings_of(home), variety_key(var, symbol)
        lake = Lake(settings.data)
        if refresh or (not offline and not load_snapshot(settings.data, key).is_fresh(datetime.now(UTC))):
            _ask_service(settings, lake, key, must=refresh)
        found = Coverage(lake, load_calendar(settings), key)
        rows = [item.brief().to_json() for item in found.contracts()]
        asked = found.snapshot.asked_at
        document = {
            "contracts": rows,
            "variety": key,
            "as_of": str(found.as_of),
            "asked_at": asked.isoformat() if asked else None,
        }
        # Old contracts nobody has anything of would bury the others on a screen; --json has them all.
        shown = [row for row in rows if row["days"] or row["expires"] >= str(found.as_of)]
        columns = ["symbol", "listed", "expires", "state", "days", "first_day", "last_day", "l5_days", "stale"]
        columns.append("ticks_from")

        def text() -> str:
            left = len(rows) - len(shown)
            when = f"the service was asked at {asked:%Y-%m-%d %H:%M} UTC" if asked else "the service was never asked"
            lines = [table(_blank(shown), columns), "", f"as of {found.as_of}; {when}"]
            return "\n".join([*lines, f"and {left} expired contracts of which nothing is here"] if left else lines)

        emit(document, json, text)


def _blank(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with None as nothing, for the screen."""
    return [{name: "" if value is None else value for name, value in row.items()} for row in rows]


def _register_coverage(data: typer.Typer) -> None:
    @data.command()
    def coverage(
        var: OptionalVar = "",
        symbol: AnySeriesOption = "",
        weeks: Annotated[int, typer.Option("--weeks", min=4, max=520, help="Weeks of the picture.")] = 52,
        rebuild: Annotated[bool, typer.Option("--rebuild", help="Read every manifest of the lake anew first.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Days here, days with depth, days without ticks, gaps, skipped days; main_l5, features, labels.

        Example: ghtrader data coverage --var cu
        """
        from ghtrader_market.inventory.coverage import Coverage
        from ghtrader_market.reference.trading_calendar import load_calendar
        from ghtrader_market.stores.lake.lake import Lake

        settings = settings_of(home)
        lake, calendar = Lake(settings.data), load_calendar(settings)
        if rebuild:
            note(f"{lake.index.rebuild()} days indexed")
        wanted, contract = series_of(var, symbol) if var or symbol else ("", "")
        keys = [wanted] if wanted else _varieties_here(lake)
        found, unreadable = [], []
        for key in keys:
            try:
                found.append(Coverage(lake, calendar, key))
            except IntegrityError as error:  # its contract list; the other varieties are told of all the same
                if wanted:
                    raise
                unreadable.append(error)
        documents = [each.to_json(contract) for each in found] if json else []
        emit(
            documents[0] if wanted and json else {"varieties": documents},
            json,
            lambda: "\n\n".join(_coverage_text(each, contract, weeks) for each in found) or "(nothing)",
        )
        if unreadable:
            raise unreadable[0]


def _varieties_here(lake: Lake) -> list[str]:
    from ghtrader_market.inventory.contract_catalog import symbols_here
    from ghtrader_market.reference.varieties import all_varieties

    return [variety.key for variety in all_varieties() if symbols_here(lake, variety.key)]


def _coverage_text(found: Any, symbol: str, weeks: int) -> str:
    from ghtrader_market.inventory.coverage import MARKS, picture

    contracts = found.contracts(symbol)
    here = [item for item in contracts if item.days or item.no_data or item.skipped]
    rows = []
    for item in here:
        brief = item.brief()
        rows.append(
            {name: getattr(brief, name) for name in ("symbol", "state", "days", "l5_days", "first_day", "last_day")}
            | {
                "no_data": len(item.no_data),
                "missing": "?" if item.missing_days is None else item.missing_days,
                "skipped": len(item.skipped),
                "recorded": len(item.recorded),
                "ticks_from": brief.ticks_from,
            }
        )
    series = [
        {"series": f"{item.dataset} {item.key}", "days": len(item.days), "rows": item.rows,
         "first_day": item.days[0] if item.days else "", "last_day": item.days[-1] if item.days else "",
         "missing": len(item.missing), "ticks_from": item.to_json()["ticks_from"]}
        for item in found.series()
    ]  # fmt: skip
    blocks = [f"{found.variety.key} as of {found.as_of}", table(_blank(rows))]
    if here:
        newest = max([found.as_of, *(item.days[-1][0] for item in here if item.days)])
        lines = picture(here, found.calendar, min(newest, max(item.end or newest for item in here)), weeks)
        used = "".join(lines[1:])
        blocks += ["\n".join(lines), "  ".join(f"{mark} {what}" for mark, what in MARKS.items() if mark in used)]
    if series:
        blocks.append(table(series))
    gaps = [f"  {c.symbol} {a} to {b} ({n} days)" for c in here for a, b, n in c.gaps]
    skips = [f"  {c.symbol} {day}: {e.reason} ({e.detail})" for c in here for day, e in c.skipped.items()]
    unreadable = [f"  {line}" for c in contracts for line in c.unreadable]
    for title, lines in (("missing", gaps), ("skipped", skips), ("cannot be read", unreadable)):
        if lines:
            more = [f"  and {len(lines) - 12} more; --json has all"] if len(lines) > 12 else []
            blocks.append("\n".join([f"{title}:", *lines[:12], *more]))
    return "\n\n".join(blocks)


def _register_l5_start(data: typer.Typer) -> None:
    @data.command("l5-start")
    def l5_start(
        var: VarietyOption = "",
        symbol: SeriesOption = "",
        exchange: Annotated[str, typer.Option("--exchange", help="SHFE; the variety's own if left out.")] = "",
        refresh: Annotated[bool, typer.Option("--refresh", help="Ask the service again.")] = False,
        offline: Annotated[bool, typer.Option("--offline", help="Only what is known here.")] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """First day with true depth, asked of the service once, and the setting that pins it.

        Example: ghtrader data l5-start --exchange SHFE --var cu
        """
        from ghtrader_market.inventory.depth_start import find_l5_start, probe_l5_start
        from ghtrader_market.reference.varieties import get_variety
        from ghtrader_market.stores.lake.lake import Lake

        settings, variety = settings_of(home), get_variety(variety_key(var, symbol))
        if exchange and exchange != variety.exchange:
            raise UsageError(f"{variety.key} trades on {variety.exchange}, not on {exchange}", "correct --exchange")
        found = find_l5_start(settings, variety.key)
        if not offline and (refresh or found.how == "disk"):
            from ghtrader_market.sources.tqsdk.source import TqSdkSource

            try:
                with TqSdkSource(settings) as source:
                    found = probe_l5_start(settings, source, Lake(settings.data), variety.key, note)
            except GhtraderError as exc:
                if refresh or found.day is None:
                    raise
                note(f"the service was not asked: {exc.message}; this is the first day with depth on disk")

        def text() -> str:
            pin = f"\npin it: {found.setting}={found.day or 'YYYY-MM-DD'}" if found.setting else ""
            if found.day is None:
                return f"nothing here says when depth of {variety.key} begins; ask the service{pin}"
            return f"{variety.key} has depth from {found.day} ({found.how}){pin}"

        emit({**found.to_json(), "exchange": variety.exchange}, json, text)


def _origin(kind: str, service: str, world: str, seed: int, layout: str) -> TickOrigin:
    """Where ticks come from, as typed."""
    from ghtrader_base.plain_str_enum import read_word
    from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin
    from ghtrader_market.sources.tqsdk.service_origin import VENDOR_DOMAIN

    words = {"service": OriginKind.SERVICE, "simulated": OriginKind.SIMULATED, "file": OriginKind.FILE}
    found = words.get(kind) or read_word(OriginKind, kind, "--kind")
    if found == OriginKind.SERVICE:
        return TickOrigin(kind=found, service=service or VENDOR_DOMAIN)
    if found == OriginKind.SIMULATED:
        if not world:
            raise UsageError("a simulated market is named by its world", "add --world driver --seed 1")
        return TickOrigin(kind=found, service=service or None, world=world, seed=seed)
    if found == OriginKind.FILE:
        return TickOrigin(kind=found, layout=layout or "declared")
    raise UsageError("an unknown origin is what the days have already", f"--kind {', '.join(words)}")


def _register_origin(data: typer.Typer) -> None:
    @group(data, "origin", "Where the ticks of stored days come from.").command("set")
    def set_origin(
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        kind: Annotated[str, typer.Option("--kind", help="service (a real one), simulated, or file.")] = "",
        reason: Annotated[str, typer.Option("--reason", help="How you know; kept with the days.")] = "",
        service: Annotated[str, typer.Option("--service", help="Name of the service; shinnytech.com by default.")] = "",
        world: Annotated[str, typer.Option("--world", help="What a simulated exchange played.")] = "",
        seed: Annotated[int, typer.Option("--seed", help="Of its random numbers.")] = 0,
        layout: Annotated[str, typer.Option("--layout", help="Of an imported file.")] = "",
        start: StartOption = "",
        end: EndOption = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Say where days come from whose manifests do not; days that say it themselves are refused (exit 3).

        Example: ghtrader data origin set --var cu --end 2026-10-30 --kind service --reason "from our account"
        """
        import getpass
        from datetime import UTC, datetime

        from ghtrader_market.ingest.declare_origin import contracts_with_ticks, declare_origin
        from ghtrader_market.stores.day_details import DeclaredOrigin
        from ghtrader_market.stores.lake.lake import Lake

        settings = settings_of(home)
        key, contract = series_of(var, symbol, "raw" if symbol and not symbol.startswith("KQ.m@") else "")
        if not reason.strip():
            raise UsageError("an origin is declared for a reason", 'add --reason "how you know it"')
        symbols = [contract] if contract else contracts_with_ticks(Lake(settings.data), key)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        found = declare_origin(
            settings, symbols, optional_day(start, "--start"), optional_day(end, "--end"),
            _origin(kind, service, world, seed, layout),
            DeclaredOrigin(by=getpass.getuser(), at=at, why=reason.strip()),
        )  # fmt: skip
        emit(
            found.to_json(),
            json,
            lambda: f"{len(found.ticks)} days of ticks, and {found.built} built of them, are now: {found.origin.words}",
        )


def register(app: typer.Typer) -> None:
    """Add `data contracts`, `data coverage`, `data l5-start` and `data origin`."""
    data = group(app, "data", "Recordings and what is in the lake.")
    _register_contracts(data)
    _register_coverage(data)
    _register_l5_start(data)
    _register_origin(data)
