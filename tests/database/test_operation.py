"""operation_of finds the kind of work under whatever is written before it."""

from __future__ import annotations

import pytest

from atom_platform.database.operation import operation_of


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("SELECT 1", "select"),
        ("insert into t values (1)", "insert"),
        ("  \n\tUpdate t SET a = 1", "update"),
        ("DELETE\nFROM t", "delete"),
        ("INSERT OR REPLACE INTO t VALUES (1)", "insert"),
        ("(SELECT 1) UNION (SELECT 2)", "select"),
        ("((select 1))", "select"),
        ("-- DELETE it\nSELECT 1", "select"),
        ("/* UPDATE\n */ /* again */ insert into t values (1)", "insert"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "select"),
        ("with recursive a(n) as (select 1), b as (select 2) delete from t", "delete"),
        ("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", "select"),
        ("WITH a AS (SELECT ')') INSERT INTO t SELECT * FROM a", "insert"),
        ('WITH "select" AS (SELECT 1) UPDATE t SET a = 1', "update"),
        ("WITH a AS (SELECT $x$ ) DELETE $x$) UPDATE t SET a = 1", "update"),
        ("WITH a AS (SELECT 1 -- ) delete\n) INSERT INTO t SELECT 1", "insert"),
        ("EXPLAIN SELECT 1", "other"),
        ("BEGIN IMMEDIATE", "other"),
        ("VALUES (1)", "other"),
        ("CREATE TABLE selected (a int)", "other"),
        ("selectively", "other"),
        ("WITH", "other"),
        ("", "other"),
        ("'select'", "other"),
        ("/* unfinished", "other"),
    ],
)
def test_operation(statement: str, operation: str) -> None:
    assert operation_of(statement) == operation


def test_a_long_statement_costs_no_more_than_reading_it() -> None:
    """Generated lists of values are long; nothing after the verb matters."""
    statement = "WITH a AS (VALUES " + "(1, 'x'), " * 100_000 + "(1, 'x')) SELECT 1"

    assert operation_of(statement) == "select"
