"""psycopg 3 against a cluster: SCRAM, certificates, prepared statements in text and binary, errors, notices."""

import os
import sys

import psycopg
from psycopg import sql

PORTS = os.environ["PORTS"].split(",")
CERTS = os.environ["CERTS"]
PASSWORD = os.environ["PASSWORD"]


def connect(port, user, **more):
    return psycopg.connect(
        host="localhost",
        port=port,
        user=user,
        dbname="shop",
        sslmode="verify-full",
        sslrootcert=f"{CERTS}/ca.crt",
        autocommit=True,
        **more,
    )


def by_certificate(port, user):
    return connect(port, user, sslcert=f"{CERTS}/client.{user}.crt", sslkey=f"{CERTS}/client.{user}.key")


def refused(connection, statement, state):
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        assert error.sqlstate == state, (statement, error.sqlstate, str(error))
        return str(error)
    raise AssertionError(f"{statement} was not refused")


def transactions(root, at):
    """The driver's own blocks, nested ones as savepoints, and what it thinks of the connection meanwhile."""
    status = lambda: root.info.transaction_status.name
    key = 7000 + at * 10
    insert = "INSERT INTO orders (id, item, paid) VALUES (%s, 'x', true)"
    with root.transaction():
        assert status() == "INTRANS", status()
        root.execute(insert, (key,))
        try:
            with root.transaction():
                root.execute(insert, (key + 1,))
                root.execute(insert, (key,))
        except psycopg.errors.UniqueViolation:
            pass
        assert status() == "INTRANS", status()
        root.execute(insert, (key + 2,))
    try:
        with root.transaction():
            root.execute(insert, (key + 3,))
            refused(root, insert.replace("%s", str(key)), "23505")
            assert status() == "INERROR", status()
            refused(root, "SELECT 1", "25P02")
            raise KeyError
    except KeyError:
        pass
    assert status() == "IDLE", status()
    rows = root.execute("SELECT id FROM orders WHERE id >= %s AND id < %s ORDER BY id", (key, key + 10)).fetchall()
    assert rows == [(key,), (key + 2,)], rows
    with root.transaction(), root.cursor() as cursor:
        for _ in range(8):
            cursor.execute("SELECT id FROM orders WHERE id = %s", (key,), prepare=True)
            assert cursor.fetchall() == [(key,)]


def keys(connection, key):
    return [row[0] for row in connection.execute(
        "SELECT id FROM orders WHERE id >= %s AND id < %s ORDER BY id", (key, key + 10)
    ).fetchall()]


def pipelines(root, at):
    """What is sent before one Sync is one transaction, whoever began it."""
    key = 20_000 + at * 10
    insert = "INSERT INTO orders (id, item, paid) VALUES (%s, 'x', true)"
    # The driver takes a statement for prepared that was skipped after an error.
    add = lambda connection, values: connection.execute(insert, values, prepare=False)
    with root.pipeline():
        add(root, (key,))
        add(root, (key + 1,))
        # This asks for an answer in the middle (Flush), and sees what came before it.
        assert root.execute("SELECT count(*) FROM orders WHERE id >= %s AND id < %s", (key, key + 10)).fetchone() == (2,)
        add(root, (key + 2,))
    assert keys(root, key) == [key, key + 1, key + 2]
    # An error takes all of it back, also what was answered.
    try:
        with root.pipeline():
            assert root.execute("DELETE FROM orders WHERE id = %s RETURNING id", (key,)).fetchone() == (key,)
            add(root, (key + 3,))
            add(root, (key + 1,))
            add(root, (key + 4,))
    except psycopg.errors.UniqueViolation:
        pass
    else:
        raise AssertionError("a key that is there was inserted")
    assert keys(root, key) == [key, key + 1, key + 2], keys(root, key)
    # Each Sync is an end.
    with root.pipeline() as pipeline:
        add(root, (key + 3,))
        add(root, (key + 4,))
        pipeline.sync()
        add(root, (key + 3,))
        try:
            pipeline.sync()
        except psycopg.errors.UniqueViolation:
            pass
    assert keys(root, key) == [key + n for n in range(5)]
    # The driver's own block, with a savepoint, all of it in a pipeline.
    with root.pipeline(), root.transaction():
        add(root, (key + 5,))
        with root.transaction():
            add(root, (key + 6,))
    assert keys(root, key) == [key + n for n in range(7)]
    # Many executions of one statement are a pipeline too.
    with root.cursor() as cursor:
        try:
            cursor.executemany(insert, [(key + 7,), (key + 8,), (key,)])
        except psycopg.errors.UniqueViolation:
            pass
        assert keys(root, key) == [key + n for n in range(7)]
        cursor.executemany(insert, [(key + 7,), (key + 8,)])
    # DDL and what uses it.
    with root.pipeline():
        root.execute(f"CREATE TABLE made{at} (k INT PRIMARY KEY)")
        root.execute(f"INSERT INTO made{at} VALUES (1)")
    assert root.execute(f"SELECT k FROM made{at}").fetchall() == [(1,)]
    root.execute(f"DROP TABLE made{at}")
    assert root.info.transaction_status.name == "IDLE"


def cursors(root, at):
    """The driver's server-side cursors: DECLARE with parameters, the portal described, FETCH, MOVE, CLOSE."""
    for binary in (False, True):
        with root.transaction():
            root.execute("INSERT INTO orders (id, item, paid) VALUES (%s, 'x', true)", (21_000 + at * 10 + binary,))
            with root.cursor(name="Rows of it", scrollable=True, binary=binary) as cursor:
                cursor.execute("SELECT n, 'item ' || n AS item FROM generate_series(1, %s) AS n", (100,))
                assert [column.name for column in cursor.description] == ["n", "item"], cursor.description
                assert cursor.fetchone() == (1, "item 1")
                assert cursor.fetchmany(3) == [(n, f"item {n}") for n in (2, 3, 4)]
                listed = root.execute("SELECT name, is_scrollable FROM pg_cursors").fetchall()
                assert listed == [("Rows of it", True)], listed
                cursor.scroll(90)
                assert cursor.fetchone() == (95, "item 95")
                cursor.scroll(0, mode="absolute")
                assert cursor.fetchone() == (1, "item 1")
                assert len(cursor.fetchall()) == 99
        with root.transaction(), root.cursor(name="Rows of it") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT n FROM generate_series(1, 20) AS n WHERE n > %s", (5,))
            assert [row[0] for row in cursor] == list(range(6, 21))
        # The driver asks whether a cursor is there that it did not declare.
        with root.transaction(), root.cursor(name="nothing"):
            pass


def blanks(root):
    """Values of CHAR(n) are as long as PostgreSQL shows them, wherever they come from."""
    root.execute("CREATE TABLE codes (k CHAR(4) PRIMARY KEY, o CHAR(2))")
    root.execute("INSERT INTO codes VALUES (%s, NULL), ('abcd', 'x')", ("b",))
    for binary in (False, True):
        read = lambda query: [row[0] for row in root.execute(query, binary=binary).fetchall()]
        assert read("SELECT k FROM codes ORDER BY k") == ["abcd", "b   "]
        assert read("SELECT max(k) FROM codes WHERE k = 'b'") == ["b   "]
        assert read("SELECT 'a'::CHAR(2) UNION ALL SELECT o FROM codes WHERE k = 'abcd'") == ["a ", "x "]
        assert read("SELECT k || '|' FROM codes WHERE k = 'b '") == ["b|"]
        assert read("SELECT length(k) FROM codes WHERE o IS NULL") == [1]
        assert read("WITH c AS (SELECT DISTINCT o FROM codes WHERE o = 'x') SELECT (SELECT o FROM c) FROM c") == ["x "]
        with root.transaction(), root.cursor(name="codes", binary=binary) as cursor:
            cursor.execute("SELECT k FROM codes ORDER BY k DESC")
            assert cursor.fetchone() == ("b   ",)
    with root.cursor() as cursor, cursor.copy("COPY codes TO STDOUT") as copy:
        assert sorted(copy.rows()) == [("abcd", "x "), ("b   ", None)]
    with root.cursor() as cursor, cursor.copy("COPY codes FROM STDIN") as copy:
        copy.write_row(("c", "y"))
    assert root.execute("UPDATE codes SET o = 'z' WHERE k = 'c   ' RETURNING k, o").fetchone() == ("c   ", "z ")
    root.execute("CREATE VIEW seen AS SELECT k FROM codes")
    assert root.execute("SELECT k FROM seen WHERE k = 'c'").fetchone() == ("c   ",)
    root.execute("DROP VIEW seen; DROP TABLE codes")


def versions(connections, at):
    """What one node acknowledged is seen on another one that was told its version, and what is prepared is listed."""
    writer, reader = connections
    key = 22_000 + at
    for reading in ("local", "at_least({})", "linearizable"):
        writer.execute("UPSERT INTO orders (id, item, paid) VALUES (%s, %s, true)", (key, reading))
        version = writer.execute("SHOW grantd.version").fetchone()[0]
        reader.execute(f"SET grantd.read = '{reading.format(version)}'")
        (item,) = reader.execute("SELECT max(item) FROM orders WHERE id = %s", (key,), prepare=True).fetchone()
        # Local rows may be those of before.
        assert reading == "local" or item == reading, (reading, item)
    reader.execute("SET grantd.read = 'at_least(1000000000)'; SET statement_timeout = '300ms'")
    refused(reader, "SELECT count(*) FROM orders", "57014")
    reader.execute("RESET grantd.read; RESET statement_timeout")
    listed = reader.execute("SELECT statement, parameter_types, from_sql FROM pg_prepared_statements").fetchall()
    assert [(row[0], row[2]) for row in listed] == [("SELECT max(item) FROM orders WHERE id = $1", False)], listed


def main():
    for at, port in enumerate(PORTS):
        with connect(port, "mia", password=PASSWORD) as mia, by_certificate(port, "root") as root:
            assert mia.execute("SELECT current_user").fetchone() == ("mia",)
            text = refused(mia, "SELECT * FROM orders", "42501")
            assert "user mia does not have SELECT privilege on relation orders" in text, text
            root.execute("GRANT SELECT, INSERT ON TABLE orders TO mia")
            # The fifth execution is prepared on the server; the sixth has it.
            for number in range(8):
                key = at * 100 + number
                mia.execute(
                    "INSERT INTO orders (id, item, paid) VALUES (%s, %s, %s)",
                    (key, f"item {number}", number % 2 == 0),
                    prepare=number > 4,
                )
            for binary in (False, True):
                rows = mia.execute(
                    "SELECT id, item, paid FROM orders WHERE id >= %s AND id < %s ORDER BY id",
                    (at * 100, at * 100 + 8),
                    binary=binary,
                ).fetchall()
                assert rows == [(at * 100 + n, f"item {n}", n % 2 == 0) for n in range(8)], rows
            root.execute(sql.SQL("REVOKE ALL ON TABLE {} FROM mia").format(sql.Identifier("orders")))
            refused(mia, "SELECT * FROM orders", "42501")
            transactions(root, at)
            pipelines(root, at)
            cursors(root, at)
            blanks(root)
            with by_certificate(PORTS[(at + 1) % len(PORTS)], "root") as reader:
                versions((root, reader), at)
    try:
        connect(PORTS[0], "mia", password="wrong")
    except psycopg.OperationalError as error:
        assert "password authentication failed for user mia" in str(error), error
    else:
        raise AssertionError("a wrong password was accepted")
    print(f"psycopg {psycopg.__version__}: {len(PORTS)} nodes")


sys.exit(main())
