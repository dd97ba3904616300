"""All hostile statements, by the engine alone and by the command's process; what must be stopped at its full limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghtrader_base.errors import FailedError, GhtraderError, UsageError
from ghtrader_market.sql.engine import opened
from ghtrader_market.sql.query import query
from tests.support.hostile_sql import STATEMENTS
from tests.unit.market.sql.test_hostile_statements import CANARY, contents, data, filled, metrics  # noqa: F401 (fixture)

PARTS = 10


def test_there_are_two_hundred() -> None:
    assert len(set(STATEMENTS)) >= 200


@pytest.mark.sample(1)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_hostile_statement_is_refused(data: Path, part: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("TQSDK_PASSWORD", CANARY)
    before = contents(data.parents[1])
    for number, text in enumerate(filled(data, STATEMENTS[part::PARTS])):
        with pytest.raises((UsageError, FailedError)) as caught, opened(data, text, metrics) as reader:
            pytest.fail(f"{text} gave {reader.read_all().to_pylist()[:3]}")
        if number % 5 == 0:
            with pytest.raises(GhtraderError) as other:
                query(data, text, metrics=metrics)
            assert other.value.message == caught.value.message, text
        assert CANARY not in caught.value.message and "root:" not in caught.value.message, text
    assert contents(data.parents[1]) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 3000000000)",
        "SELECT length(repeat('x', 3000000000))",
        "SELECT list(range) FROM range(500000000)",
        "SELECT string_agg(repeat('y', 1000), ',') FROM range(3000000)",
        "SELECT range, repeat('x', 200) || range AS s FROM range(20000000) ORDER BY hash(range)",
        "SELECT * FROM range(2000000)",
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
    ],
)
def test_a_costly_statement_is_stopped_by_the_default_limits(data: Path, sql: str) -> None:  # noqa: F811
    with pytest.raises(FailedError) as caught:
        query(data, sql)
    assert caught.value.hint and not (data.parent / "tmp").exists()
