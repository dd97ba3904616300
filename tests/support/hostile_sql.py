"""Lists statements that must change nothing and read nothing but the lake: what people who attack a SQL engine try.

`{data}` is the lake's folder, `{out}` a folder beside the home, `{part}` a part file of the lake. Nothing is run here.
"""

from __future__ import annotations

_WRITES = (
    "COPY (SELECT 1 AS a, 2 AS b) TO '{out}/x.csv'",
    "COPY (SELECT 1 AS a, 2 AS b) TO '{data}/ticks' (FORMAT parquet, PARTITION_BY (b), OVERWRITE)",
    "COPY (SELECT 1 AS a) TO '{part}' (FORMAT parquet)",
    "COPY (SELECT 1 AS a) TO '{data}/main_schedule.json' (FORMAT json)",
    "COPY ticks_raw_v2 TO '{out}/y.parquet'",
    "INSERT INTO ticks_raw_v2 (id) VALUES (1)",
    "UPDATE ticks_raw_v2 SET id = 1",
    "DELETE FROM ticks_raw_v2",
    "DELETE FROM run_metrics",
    "INSERT INTO duckdb_settings() VALUES (1)",
)
_WRAPS = (
    "{s}",
    "WITH x AS ({s}) SELECT 1",
    "WITH x AS ({s}) SELECT * FROM x",
    "WITH x AS MATERIALIZED ({s}) SELECT 1",
    "WITH RECURSIVE y AS (SELECT 1), x AS ({s}) SELECT * FROM y",
    "SELECT (WITH x AS ({s}) SELECT 1)",
    "SELECT * FROM (WITH x AS ({s}) SELECT 1)",
    "SELECT 1 UNION ALL (WITH x AS ({s}) SELECT 1)",
    "WITH a AS (WITH x AS ({s}) SELECT 1) SELECT * FROM a",
    "EXPLAIN ANALYZE WITH x AS ({s}) SELECT 1",
)
_READERS = (
    "read_text('{f}')", "read_blob('{f}')", "read_csv('{f}')", "read_csv_auto('{f}')", "read_json('{f}')",
    "read_json_auto('{f}')", "read_ndjson('{f}')", "read_json_objects('{f}')", "read_parquet('{f}')",
    "parquet_scan('{f}')", "parquet_metadata('{f}')", "parquet_schema('{f}')", "parquet_kv_metadata('{f}')",
    "parquet_file_metadata('{f}')", "sniff_csv('{f}')", "glob('{f}')", "'{f}'", "query_table('{f}')",
    "query('FROM read_text(''{f}'')')", "read_duckdb('{f}')",
)  # fmt: skip
_FILES = ("/etc/passwd", "{part}", "/proc/self/environ")
_OTHERS = (
    "SELECT 1; SELECT 2", "SELECT 1; DROP VIEW ticks_raw_v2", "CREATE TABLE x (a INT)", "CREATE TABLE x AS SELECT 1",
    "CREATE OR REPLACE VIEW ticks_raw_v2 AS SELECT 1", "CREATE SECRET s (TYPE s3)", "CREATE MACRO m() AS 1",
    "CREATE SCHEMA s", "CREATE SEQUENCE s", "CREATE TYPE t AS ENUM ('a')", "CREATE INDEX i ON run_metrics (value)",
    "DROP VIEW ticks_raw_v2", "ALTER TABLE run_metrics ADD COLUMN a INT", "TRUNCATE run_metrics",
    "MERGE INTO run_metrics USING run_metrics AS u ON true WHEN MATCHED THEN DELETE",
    "ATTACH '{data}/x.db'", "ATTACH ':memory:' AS m", "ATTACH '/etc/passwd' AS p", "DETACH memory", "USE memory",
    "INSTALL httpfs", "LOAD httpfs", "LOAD '{out}/x.so'", "FORCE INSTALL httpfs FROM 'http://127.0.0.1:1'",
    "UPDATE EXTENSIONS", "SET enable_external_access = true", "SET GLOBAL lock_configuration = false",
    "SET allowed_directories = ['/']", "SET allowed_paths = ['/etc/passwd']", "SET temp_directory = '{data}'",
    "SET home_directory = '{data}'", "SET extension_directory = '{data}'", "SET secret_directory = '{data}'",
    "SET memory_limit = '100GB'", "SET max_temp_directory_size = '100GB'", "SET threads = 64",
    "SET python_enable_replacements = true", "SET custom_user_agent = 'x'", "SET log_query_path = '{data}/log'",
    "SET profiling_output = '{data}/profile'", "SET logging_storage = 'file'", "RESET lock_configuration",
    "RESET enable_external_access", "SET VARIABLE a = 1", "PRAGMA enable_profiling",
    "PRAGMA profiling_output = '{data}/p'", "PRAGMA log_query_path = '{data}/log'", "PRAGMA database_list",
    "PRAGMA import_database('{data}')", "CALL pragma_version()", "CALL enable_logging(storage = 'file')",
    "CALL enable_logging(storage_path = '{data}/log')", "CALL sql_auto_complete('SEL')", "PREPARE p AS SELECT 1",
    "EXECUTE p", "DEALLOCATE p", "VACUUM", "VACUUM ANALYZE", "ANALYZE", "CHECKPOINT", "FORCE CHECKPOINT", "BEGIN",
    "COMMIT", "ROLLBACK", "EXPORT DATABASE '{out}/e'", "IMPORT DATABASE '{out}/e'",
    "COPY FROM DATABASE memory TO memory", "COMMENT ON VIEW ticks_raw_v2 IS 'x'",
    "SELECT * FROM data", "SELECT * FROM DAYS", "SELECT getenv('HOME')",
    "SELECT * FROM sqlite_scan('{data}/coverage.sqlite', 'days')",
    "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 'x')", "SELECT * FROM iceberg_scan('{data}')",
    "SELECT * FROM delta_scan('{data}')", "SELECT * FROM read_xlsx('{data}/x.xlsx')", "SELECT * FROM st_read('{data}')",
    "SELECT * FROM 'https://127.0.0.1:1/x.parquet'", "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')", "SELECT * FROM read_text('\\\\127.0.0.1\\x')",
    "SELECT * FROM read_text('file:///etc/passwd')", "SELECT * FROM read_text(['/etc/passwd', '/etc/hosts'])",
    "SELECT * FROM read_text('{data}/../../../../../../../etc/passwd')", "SELECT * FROM python_scan(1)",
    "SELECT * FROM arrow_scan(1, 2, 3)", "SELECT * FROM pandas_scan(1)", "SELECT * FROM arrow_scan_dumb(1, 2, 3)",
    "PIVOT ticks_raw_v2 ON id USING count(*)", "SHOW nothing", "SELEC 1", "", "-- nothing", ";", "\x00", "'",
    "SELECT 1 /*", "SELECT \"", "SELECT ?", "SELECT $a", "SELECT a FROM features_all",
)  # fmt: skip


def _statements() -> list[str]:
    writes = [wrap.replace("{s}", write) for wrap in _WRAPS for write in _WRITES]
    reads = [f"SELECT * FROM {reader.replace('{f}', file)}" for reader in _READERS for file in _FILES]
    hidden = [f"SELECT * FROM query('{write.replace(chr(39), chr(39) * 2)}')" for write in _WRITES]
    hidden += [f"SELECT * FROM query('{_WRAPS[1].replace('{s}', w).replace(chr(39), chr(39) * 2)}')" for w in _WRITES]
    return [*writes, *reads, *hidden, *_OTHERS]


STATEMENTS = tuple(_statements())
