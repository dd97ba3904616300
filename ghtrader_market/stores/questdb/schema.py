"""Defines the tables in QuestDB as numbered, additive migrations, and what the newest of them expects.

Data only: `migrations` applies them and compares a server with them. An applied migration is
never edited (its checksum is in the ledger); a new need is a new number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ghtrader_base.files import content_hash
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, VALUE_COLUMNS

RAW_TICKS = "ghtrader_ticks_raw_v2"
MAIN_L5 = "ghtrader_ticks_main_l5_v2"
MAIN_SCHEDULE = "ghtrader_main_schedule_v2"
FEATURES = "ghtrader_features_v2"
LABELS = "ghtrader_labels_v2"
BUILDS = "ghtrader_builds_v2"
LEDGER = "ghtrader_migrations_v2"


@dataclass(frozen=True)
class Table:
    """One table: every column is required.

    Attributes
    ----------
    columns : tuple of (name, QuestDB type)
        The first is the designated time.
    keys : tuple of str
        Rows equal in these are one row: a second one replaces the first. Empty: every row is kept.
    partition : str
        DAY or YEAR.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    partition: str = "DAY"

    def create_statement(self) -> str:
        """SQL that makes the table where it is missing."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        dedup = f" {self.dedup_clause()}" if self.keys else ""
        return (
            f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}) "
            f"TIMESTAMP({self.columns[0][0]}) PARTITION BY {self.partition} WAL{dedup}"
        )

    def dedup_clause(self) -> str:
        """The key as QuestDB writes it."""
        return f"DEDUP UPSERT KEYS({', '.join(self.keys)})"


@dataclass(frozen=True)
class Migration:
    """One step forward: new tables, and new columns of tables that earlier steps made."""

    number: int
    title: str
    tables: tuple[Table, ...] = ()
    columns: tuple[tuple[str, str, str], ...] = field(default=())
    """(table, column, type)"""

    @property
    def checksum(self) -> str:
        """Hash of what the step does; 16 hex characters."""
        tables = [[table.create_statement(), *map(list, table.columns)] for table in self.tables]
        return content_hash([self.number, self.title, tables, [list(column) for column in self.columns]])[:16]


def _values() -> tuple[tuple[str, str], ...]:
    types = {"int64": "LONG", "double": "DOUBLE"}
    return tuple((name, types[str(RAW_TICK_SCHEMA.field(name).type)]) for name in VALUE_COLUMNS)


_TIME = (("ts", "TIMESTAMP_NS"), ("datetime_ns", "LONG"), ("symbol", "SYMBOL"))
_VERSION = ("dataset_version", "SYMBOL")
_BUILD = (("trading_day", "SYMBOL"), ("build_id", "SYMBOL"), ("row_number", "INT"), ("row_hash", "LONG"))
_PROVENANCE = (("underlying_contract", "SYMBOL"), ("segment_id", "INT"), ("schedule_hash", "SYMBOL"))
_BUILD_KEYS = ("ts", "symbol", "build_id", "row_hash")

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "raw ticks",
        (
            Table(
                RAW_TICKS,
                (
                    *_TIME,
                    ("ticks_kind", "SYMBOL"),
                    _VERSION,
                    ("row_hash", "LONG"),
                    ("ingest_seq", "LONG"),
                    ("id", "LONG"),
                    *_values(),
                    ("trading_day", "SYMBOL"),
                ),
                ("ts", "symbol", "row_hash"),
            ),
        ),
    ),
    Migration(
        2,
        "builds, main_l5 and the roll schedule",
        (
            Table(
                BUILDS,
                (
                    ("ts", "TIMESTAMP"),
                    ("dataset", "SYMBOL"),
                    ("symbol", "SYMBOL"),
                    ("trading_day", "SYMBOL"),
                    ("build_id", "SYMBOL"),
                    ("activation", "LONG"),
                    ("first_seq", "LONG"),
                    ("row_count", "LONG"),
                    ("content_hash", "SYMBOL"),
                    ("source", "SYMBOL"),
                    ("run_id", "SYMBOL"),
                    ("code_version", "SYMBOL"),
                    ("extra", "STRING"),
                ),
                ("ts", "dataset", "symbol", "trading_day", "activation"),
                "YEAR",
            ),
            Table(MAIN_L5, (*_TIME, _VERSION, *_BUILD, ("id", "LONG"), *_values(), *_PROVENANCE), _BUILD_KEYS),
            Table(
                MAIN_SCHEDULE,
                (
                    ("ts", "TIMESTAMP"),
                    ("variety", "SYMBOL"),
                    ("trading_day", "SYMBOL"),
                    ("build_id", "SYMBOL"),
                    ("underlying_contract", "SYMBOL"),
                    ("segment_id", "INT"),
                    ("schedule_hash", "SYMBOL"),
                    ("declared", "BOOLEAN"),
                ),
                ("ts", "variety", "trading_day", "build_id"),
                "YEAR",
            ),
        ),
    ),
    Migration(
        3,
        "features and labels",
        tuple(
            Table(
                name,
                (*_TIME, _VERSION, *_BUILD, ("spec_hash", "SYMBOL"), ("numbers", "DOUBLE[]"), *_PROVENANCE),
                _BUILD_KEYS,
            )
            for name in (FEATURES, LABELS)
        ),
    ),
)

LEDGER_TABLE = Table(
    LEDGER,
    (
        ("ts", "TIMESTAMP"),
        ("number", "LONG"),
        ("title", "SYMBOL"),
        ("checksum", "SYMBOL"),
        ("statement", "STRING"),
        ("code_version", "SYMBOL"),
    ),
    (),
    "YEAR",
)
"""Applied migrations, and with number 0 what was mended; append-only."""


def expected_tables(migrations: Sequence[Migration] = MIGRATIONS) -> dict[str, Table]:
    """The tables as they are after these migrations, the ledger included."""
    tables = {LEDGER: LEDGER_TABLE}
    for migration in migrations:
        tables |= {table.name: table for table in migration.tables}
        for name, column, kind in migration.columns:
            tables[name] = replace(tables[name], columns=(*tables[name].columns, (column, kind)))
    return tables
