"""SQLAlchemy reflects a schema, and its grants, through the standard postgresql dialect."""

import os
import sys

import sqlalchemy
from sqlalchemy import MetaData, Table, create_engine, inspect, text

PORTS = os.environ["PORTS"].split(",")
CERTS = os.environ["CERTS"]


def main():
    engine = create_engine(
        f"postgresql+psycopg://root@localhost:{PORTS[-1]}/shop",
        use_native_hstore=False,
        connect_args={
            "sslmode": "verify-full",
            "sslrootcert": f"{CERTS}/ca.crt",
            "sslcert": f"{CERTS}/client.root.crt",
            "sslkey": f"{CERTS}/client.root.key",
        },
    )
    inspector = inspect(engine)
    schemas = inspector.get_schema_names()
    assert {"public", "ops"} <= set(schemas), schemas
    assert set(inspector.get_table_names()) == {"customers", "orders"}, inspector.get_table_names()
    assert inspector.get_view_names() == ["paid_orders"], inspector.get_view_names()
    assert "order_ids" in inspector.get_sequence_names(), inspector.get_sequence_names()
    columns = {column["name"]: column for column in inspector.get_columns("orders")}
    assert list(columns) == ["id", "customer", "item", "paid"], columns
    assert str(columns["id"]["type"]) == "BIGINT" and not columns["id"]["nullable"], columns["id"]
    assert str(columns["paid"]["type"]) == "BOOLEAN" and columns["paid"]["nullable"], columns["paid"]
    assert inspector.get_pk_constraint("orders")["constrained_columns"] == ["id"]
    unique = inspector.get_unique_constraints("customers")
    assert [constraint["column_names"] for constraint in unique] == [["email"]], unique
    enums = inspector.get_enums()
    assert [(enum["name"], enum["labels"]) for enum in enums] == [("mood", ["sad", "happy"])], enums
    metadata = MetaData()
    metadata.reflect(engine, views=True)
    assert set(metadata.tables) == {"customers", "orders", "paid_orders"}, metadata.tables
    customers = Table("customers", MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        connection.execute(customers.insert().values(id=1, email="a@example.org", mood="happy"))
        row = connection.execute(customers.select()).one()
        assert tuple(row) == (1, "a@example.org", "happy"), row
        grants = connection.execute(
            text(
                "SELECT grantee, privilege_type, is_grantable FROM information_schema.table_privileges "
                "WHERE table_name = 'customers' ORDER BY 1, 2"
            )
        ).all()
        assert [tuple(grant) for grant in grants] == [
            ("admin", "ALL", "YES"),
            ("mia", "SELECT", "NO"),
            ("root", "ALL", "YES"),
        ], grants
    print(f"SQLAlchemy {sqlalchemy.__version__}: reflected {len(metadata.tables)} relations")


sys.exit(main())
