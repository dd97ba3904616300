"""Moves QuestDB's schema forward, says where a table is not what the code needs, and mends it.

Migrations are applied once, in order, and written to a ledger table with checksum and time. Beside them a server is
compared with what the code needs, column by column: a person may have dropped or retyped one. Mending never throws
values away: a column whose values do not all survive the way back is kept under another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.version import code_version
from ghtrader_market.stores.questdb.client import MEND_HINT, QuestDbClient, SchemaError
from ghtrader_market.stores.questdb.schema import LEDGER, MIGRATIONS, Migration, Table, expected_tables

Found = Mapping[str, Mapping[str, tuple[str, bool]]]
"""Table -> column -> (type, whether it is in the key), as a server has them."""


@dataclass(frozen=True)
class Fault:
    """One way in which a server is not what the code needs.

    Attributes
    ----------
    table, column : str
        Where; the column is empty where it is about the whole table.
    kind : str
        table (missing), column (missing), type, key.
    found, wanted : str
        Types or keys.
    """

    table: str
    column: str
    kind: str
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        if self.kind == "table":
            return f"QuestDB has no table {self.table}"
        if self.kind == "column":
            return f"QuestDB's table {self.table} lacks the column {self.column} ({self.wanted})"
        if self.kind == "type":
            return f"QuestDB's table {self.table} has the column {self.column} as {self.found}, not as {self.wanted}"
        return f"QuestDB's table {self.table} has the key ({self.found}), not ({self.wanted})"


@dataclass(frozen=True)
class Step:
    """One statement of a migration, or of a mend.

    Attributes
    ----------
    number : int
        Of the migration; 0 for a mend.
    title : str
        What for.
    statement : str
    table : str
        The table it changes.
    values_lost : bool
        Whether rows that were there before may have lost a value: by us, or by whoever changed the column.
    """

    number: int
    title: str
    statement: str
    table: str
    values_lost: bool = False


# ---- pure: what is wrong, and what mends it -------------------------------------------------------------------------


def faults_of(found: Found, tables: Iterable[Table]) -> list[Fault]:
    """Compare a server's tables with those the code needs; columns of other people are none of our business."""
    faults: list[Fault] = []
    for table in tables:
        if table.name not in found:
            faults.append(Fault(table.name, "", "table"))
            continue
        columns = found[table.name]
        here = []
        for name, kind in table.columns:
            if name not in columns:
                here.append(Fault(table.name, name, "column", wanted=kind))
            elif columns[name][0] != kind:
                here.append(Fault(table.name, name, "type", columns[name][0], kind))
        keys = {name for name, (_, key) in columns.items() if key}
        if keys != set(table.keys):
            here.append(Fault(table.name, "", "key", ", ".join(sorted(keys)), ", ".join(table.keys)))
        faults += here
    return faults


def pending(applied: Mapping[int, str], migrations: Sequence[Migration] = MIGRATIONS) -> list[Migration]:
    """Migrations that are not in the ledger yet.

    Raises
    ------
    SchemaError
        One was applied with another content than the code has.
    """
    for migration in migrations:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise SchemaError(
                f"migration {migration.number} ({migration.title}) was applied to QuestDB with checksum "
                f"{applied[migration.number]}, this code has {migration.checksum}",
                "an applied migration is never edited: use the ghtrader that applied it, or undo the edit",
            )
    return [migration for migration in migrations if migration.number not in applied]


def mends(faults: Sequence[Fault], tables: Mapping[str, Table], lossy: Iterable[Fault] = ()) -> list[Step]:
    """Statements that put faults right.

    Parameters
    ----------
    faults : sequence of Fault
    tables : mapping
        What the code needs, by name.
    lossy : iterable of Fault
        Retyped columns whose values do not all survive the way back: these are renamed, not altered.

    Raises
    ------
    SchemaError
        A designated time of another type, which QuestDB cannot change.
    """
    kept = set(lossy)
    steps: list[Step] = []
    rekeyed: dict[str, None] = {fault.table: None for fault in faults if fault.kind == "key"}
    for fault in faults:
        table = tables[fault.table]
        if fault.kind == "table":
            steps.append(Step(0, f"{fault.table} is missing", table.create_statement(), fault.table, True))
            continue
        if fault.kind == "key":
            continue
        if fault.column == table.columns[0][0]:
            raise SchemaError(
                str(fault),
                f"QuestDB cannot change it: RENAME TABLE {fault.table} TO {fault.table}_old, `ghtrader db migrate`, "
                "then `ghtrader db serve-sync --from lake`",
            )
        alter, column = f"ALTER TABLE {fault.table}", fault.column
        if fault.kind == "column":
            steps.append(
                Step(0, f"{column} is missing", f"{alter} ADD COLUMN {column} {fault.wanted}", fault.table, True)
            )
        elif fault in kept:
            old = f"{column}_was_{''.join(c for c in fault.found.lower() if c.isalnum())}"
            title = f"{column} is {fault.found}; not all its values are {fault.wanted}, so they stay as {old}"
            steps += [
                Step(0, title, f"{alter} RENAME COLUMN {column} TO {old}", fault.table),
                Step(0, title, f"{alter} ADD COLUMN {column} {fault.wanted}", fault.table),
                Step(0, title, f"UPDATE {fault.table} SET {column} = cast({old} AS {fault.wanted})", fault.table, True),
            ]
        else:
            statement = f"{alter} ALTER COLUMN {column} TYPE {fault.wanted}"
            steps.append(Step(0, f"{column} is {fault.found}", statement, fault.table, True))
        if column in table.keys:
            rekeyed[fault.table] = None
    for name in rekeyed:
        keys = ", ".join(tables[name].keys)
        dedup = f"ENABLE UPSERT KEYS({keys})" if keys else "DISABLE"
        steps.append(Step(0, f"the key must be ({keys})", f"ALTER TABLE {name} DEDUP {dedup}", name))
    return steps


# ---- a server -------------------------------------------------------------------------------------------------------


def tables_of(client: QuestDbClient, names: Iterable[str]) -> dict[str, dict[str, tuple[str, bool]]]:
    """Columns of those tables that a server has."""
    known = {row[0] for row in client.sql("SELECT table_name FROM tables()")}
    found = {}
    for name in names:
        if name in known:
            rows = client.sql(f"SELECT \"column\", type, upsertKey FROM table_columns('{name}')")
            found[name] = {row[0]: (row[1], bool(row[2])) for row in rows}
    return found


def applied_migrations(client: QuestDbClient, found: Found) -> dict[int, str]:
    """Number -> checksum, from the ledger; empty where there is none."""
    if LEDGER not in found:
        return {}
    rows = client.sql(f"SELECT number, checksum FROM {LEDGER} WHERE number > 0")
    return {int(number): checksum for number, checksum in rows}


@dataclass(frozen=True)
class SchemaState:
    """How a server's schema stands against the code.

    Attributes
    ----------
    fresh : bool
        Nothing of ours is there yet.
    pending : tuple of Migration
    faults : tuple of Fault
        In tables that applied migrations made.
    applied : dict
        Number -> checksum.
    """

    fresh: bool
    pending: tuple[Migration, ...]
    faults: tuple[Fault, ...]
    applied: dict[int, str]


def schema_state(client: QuestDbClient, migrations: Sequence[Migration] = MIGRATIONS) -> SchemaState:
    """Look at a server; `SchemaError` where an applied migration was edited."""
    tables = expected_tables(migrations)
    found = tables_of(client, tables)
    applied = applied_migrations(client, found)
    waiting = pending(applied, migrations)
    done = expected_tables([m for m in migrations if m.number in applied])
    faults = faults_of(found, done.values()) if applied else []
    return SchemaState(not found, tuple(waiting), tuple(faults), applied)


def require_schema(client: QuestDbClient) -> None:
    """Make sure that every table has every column; a server with nothing of ours is set up.

    Raises
    ------
    SchemaError
        Naming table and column and the command that mends it.
    """
    state = schema_state(client)
    if state.fresh:
        migrate(client)
        return
    if state.faults:
        first, more = state.faults[0], len(state.faults) - 1
        raise SchemaError(str(first) + (f" (and {more} more)" if more else ""), MEND_HINT)
    if state.pending:
        first_pending = state.pending[0]
        raise SchemaError(
            f"QuestDB waits for {len(state.pending)} migrations, first {first_pending.number} ({first_pending.title})",
            "`ghtrader db migrate` applies them (`--dry-run` shows how)",
        )


def plan(client: QuestDbClient, migrations: Sequence[Migration] = MIGRATIONS) -> list[Step]:
    """What `migrate` would do now, in order."""
    state = schema_state(client, migrations)
    steps: list[Step] = []
    for migration in state.pending:
        steps += [
            Step(migration.number, migration.title, table.create_statement(), table.name) for table in migration.tables
        ]
        steps += [
            Step(migration.number, migration.title, f"ALTER TABLE {table} ADD COLUMN {column} {kind}", table)
            for table, column, kind in migration.columns
        ]
    tables = expected_tables(migrations)
    made_by_pending = {step.table for step in steps if step.statement.startswith("CREATE")}
    found = tables_of(client, tables)
    # A table of a pending migration that is there already is adopted, so it must be what the migration makes.
    faults = [
        fault
        for fault in faults_of(found, tables.values())
        if not (fault.kind == "table" and (fault.table in made_by_pending or fault.table == LEDGER))
        and not _comes_with_pending(fault, state.pending)
    ]
    lossy = [fault for fault in faults if fault.kind == "type" and _is_lossy(client, fault)]
    return steps + mends(faults, tables, lossy)


def _comes_with_pending(fault: Fault, waiting: Iterable[Migration]) -> bool:
    return fault.kind == "column" and any(
        (fault.table, fault.column) == column[:2] for migration in waiting for column in migration.columns
    )


def _is_lossy(client: QuestDbClient, fault: Fault) -> bool:
    """Whether a value of a retyped column does not survive the way back."""
    name, there = fault.column, f"cast({fault.column} AS {fault.wanted})"
    query = (
        f"SELECT count() FROM {fault.table} WHERE {name} IS NOT NULL "
        f"AND ({there} IS NULL OR cast({there} AS {fault.found}) != {name})"
    )
    try:
        return bool(client.sql(query)[0][0])
    except FailedError:  # there is no such cast: nothing would survive
        return True


def migrate(
    client: QuestDbClient, migrations: Sequence[Migration] = MIGRATIONS, *, dry_run: bool = False
) -> list[Step]:
    """Apply what is pending and mend what is wrong; nothing where all is well.

    A kill at any moment leaves a server on which running it again does the rest: a statement that was applied is not
    in the plan any more, and tables are made only where they are missing.

    Returns
    -------
    list of Step
        What was done, or with `dry_run` what would be.

    Raises
    ------
    SchemaError
        An applied migration was edited, or a fault remains that cannot be mended.
    """
    steps = plan(client, migrations)
    if dry_run:
        return steps
    tables = expected_tables(migrations)
    if steps:
        client.sql(tables[LEDGER].create_statement())
    state = schema_state(client, migrations)
    for step in (step for step in steps if step.number):
        _execute(client, step)
    for migration in state.pending:
        failpoint("migrations.statements->ledger")
        _record(client, migration.number, migration.title, migration.checksum, "")
    for step in (step for step in steps if not step.number):
        _execute(client, step)
        _record(client, 0, step.title, "", step.statement)
    left = faults_of(tables_of(client, tables), tables.values()) if steps else []
    if left:
        raise SchemaError(f"{left[0]}, and could not be mended", "see QuestDB's log")
    return steps


def _execute(client: QuestDbClient, step: Step) -> None:
    if step.number and " ADD COLUMN " in step.statement:
        column = step.statement.split(" ADD COLUMN ")[1].split(" ")[0]
        if column in tables_of(client, [step.table]).get(step.table, {}):
            return
    try:
        client.sql(step.statement)
    except GhtraderError as exc:
        raise SchemaError(f"{step.title}: {exc.message} (`{step.statement}`)", exc.hint) from exc
    client.wait_applied(step.table)


def _record(client: QuestDbClient, number: int, title: str, checksum: str, statement: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    texts = ", ".join(_quoted(text) for text in (title, checksum, statement, code_version()))
    client.sql(
        f"INSERT INTO {LEDGER} (ts, number, title, checksum, statement, code_version) "
        f"VALUES ('{now}', {number}, {texts})"
    )
    client.wait_applied(LEDGER)


def _quoted(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"
