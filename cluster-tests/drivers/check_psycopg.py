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
    try:
        connect(PORTS[0], "mia", password="wrong")
    except psycopg.OperationalError as error:
        assert "password authentication failed for user mia" in str(error), error
    else:
        raise AssertionError("a wrong password was accepted")
    print(f"psycopg {psycopg.__version__}: {len(PORTS)} nodes")


sys.exit(main())
