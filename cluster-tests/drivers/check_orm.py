"""A shop on SQLAlchemy's ORM and Alembic, as anybody would write it for PostgreSQL: standard dialect, transactions.

It migrates up, sells, changes, counts, loses a race and tries again, and migrates down. `DATABASE_URL` names any
database to run it against; otherwise it is the last of the nodes that `PORTS` names, as root.
"""

import os
import sys
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import alembic
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import and_, case, create_engine, exists, func, or_, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, aliased, joinedload, selectinload
from sqlalchemy.orm.exc import StaleDataError

HERE = Path(__file__).parent / "shop"
sys.path.insert(0, str(HERE))
from models import Base, Line, Order, Status, Tag, User  # noqa: E402

RETRIES = 5


def connect():
    if url := os.environ.get("DATABASE_URL"):
        return create_engine(url, echo="ECHO" in os.environ)
    certs = os.environ["CERTS"]
    return create_engine(
        f"postgresql+psycopg://root@localhost:{os.environ['PORTS'].split(',')[-1]}/{os.environ['DATABASE']}",
        connect_args={
            "sslmode": "verify-full",
            "sslrootcert": f"{certs}/ca.crt",
            "sslcert": f"{certs}/client.root.crt",
            "sslkey": f"{certs}/client.root.key",
        },
    )


def migrate(engine, act, revision):
    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))
    config.attributes["metadata"] = Base.metadata
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        act(config, revision)


def fill(engine):
    with Session(engine) as session, session.begin():
        tags = {name: Tag(name=name) for name in ["gift", "urgent", "größe"]}
        amy = User(email="amy@example.org", name="Amy", settings={"city": "Graz", "theme": {"dark": True}})
        ben = User(email="ben@example.org", name="Ben O'Neil", settings={"likes": ["tea", "☕"]})
        cat = User(email="cat@example.org", name="Cat")
        placed = datetime(2022, 12, 13, 14, 15, 16, 123456)
        amy.orders = [
            Order(
                status=Status.paid,
                placed=placed,
                tags=[tags["gift"], tags["urgent"]],
                lines=[Line(sku="tea", quantity=2, price=Decimal("3.50")), Line(sku="cup", quantity=1, price=Decimal("12.00"))],
            ),
            Order(note="later", lines=[Line(sku="tea", quantity=10, price=Decimal("3.25"))]),
        ]
        ben.orders = [
            Order(status=Status.shipped, placed=placed, tags=[tags["größe"]], lines=[Line(sku="pot", quantity=1, price=Decimal("49.99"))])
        ]
        session.add_all([amy, ben, cat])


def query(engine):
    with Session(engine) as session:
        users = session.scalars(select(User).order_by(User.email).options(selectinload(User.orders).selectinload(Order.lines))).all()
        assert [(user.name, len(user.orders)) for user in users] == [("Amy", 2), ("Ben O'Neil", 1), ("Cat", 0)]
        assert users[0].settings == {"city": "Graz", "theme": {"dark": True}}
        assert users[0].joined.tzinfo is not None and users[0].joined <= datetime.now(timezone.utc)
        assert users[0].city == "nowhere", users[0].city
        order = users[0].orders[0]
        assert order.status is Status.paid and order.version == 1
        assert order.placed == datetime(2022, 12, 13, 14, 15, 16, 123456)
        assert [(line.sku, line.quantity, line.price) for line in order.lines] == [
            ("cup", 1, Decimal("12.00")),
            ("tea", 2, Decimal("3.50")),
        ]
        assert [tag.name for tag in order.tags] == ["gift", "urgent"]

        worth = func.sum(Line.quantity * Line.price)
        sold = session.execute(
            select(User.name, func.count(Order.id.distinct()), func.coalesce(worth, 0).label("worth"))
            .outerjoin(User.orders)
            .outerjoin(Order.lines)
            .group_by(User.id, User.name)
            .having(func.coalesce(worth, 0) < 1000)
            .order_by(text("worth DESC"), User.name)
        ).all()
        assert sold == [("Amy", 2, Decimal("51.50")), ("Ben O'Neil", 1, Decimal("49.99")), ("Cat", 0, Decimal(0))], sold
        average = session.scalar(select(func.avg(Line.price)))
        assert round(average, 4) == Decimal("17.1850"), average

        dark = select(User.name).where(User.settings["theme"]["dark"].as_boolean())
        assert session.scalars(dark).all() == ["Amy"]
        assert session.scalars(select(User.name).where(User.settings["city"].astext == "Graz")).all() == ["Amy"]
        assert session.scalars(select(User.name).where(User.settings.contains({"likes": ["tea"]}))).all() == ["Ben O'Neil"]
        assert session.scalars(select(User.name).where(User.settings.has_key("theme"))).all() == ["Amy"]

        tea = exists().where(and_(Line.order_id == Order.id, Line.sku == "tea"))
        assert session.scalar(select(func.count()).select_from(Order).where(tea)) == 2
        bought = select(Order.user_id).where(Order.status.in_([Status.paid, Status.shipped])).scalar_subquery()
        assert session.scalars(select(User.name).where(User.id.not_in(bought))).all() == ["Cat"]
        label = case((Order.status == Status.open, "to do"), else_="done")
        by_label = session.execute(select(label.label("state"), func.count()).group_by(label).order_by("state")).all()
        assert by_label == [("done", 2), ("to do", 1)], by_label
        found = select(User.name).where(or_(User.email.ilike("BEN%"), User.name.startswith("C"))).order_by(User.name.desc())
        assert session.scalars(found.limit(1).offset(1)).all() == ["Ben O'Neil"]
        latest = (
            select(Order, func.row_number().over(partition_by=Order.user_id, order_by=Order.id.desc()).label("nth")).subquery()
        )
        last = aliased(Order, latest)
        assert len(session.scalars(select(last).where(latest.c.nth == 1)).all()) == 2
        spent = select(Order.user_id, worth.label("worth")).join(Order.lines).group_by(Order.user_id).cte("spent")
        rich = select(User.name).join(spent, spent.c.user_id == User.id).where(spent.c.worth > 50)
        assert session.scalars(rich).all() == ["Amy"]
        eager = select(Order).options(joinedload(Order.user), joinedload(Order.tags)).order_by(Order.id)
        assert [order.user.name for order in session.scalars(eager).unique()] == ["Amy", "Amy", "Ben O'Neil"]
        assert session.scalar(select(Order.id).where(Order.placed >= datetime(2023, 1, 1))) is None
        locked = session.scalars(select(Order).where(Order.status == Status.open).with_for_update()).one()
        assert locked.note == "later"


def change(engine):
    with Session(engine) as session:
        amy = session.scalars(select(User).where(User.email == "amy@example.org")).one()
        amy.settings = {**amy.settings, "city": "Wien"}
        amy.orders[1].status = Status.paid
        amy.orders[1].lines[0].quantity = 11
        amy.orders[1].lines.append(Line(sku="jam", quantity=1, price=Decimal("5")))
        amy.orders[0].tags.pop()
        session.commit()
        assert amy.orders[1].version == 2 and amy.settings["city"] == "Wien"

        # A savepoint that fails takes nothing else with it.
        amy.name = "Amy Li"
        try:
            with session.begin_nested():
                session.add(User(email="amy@example.org", name="another Amy"))
        except IntegrityError as error:
            assert error.orig.sqlstate == "23505", error
        else:
            raise AssertionError("two users with one email")
        session.commit()
        assert session.scalar(select(User.name).where(User.id == amy.id)) == "Amy Li"

        # What is rolled back was never there.
        session.add(Tag(name="gone"))
        session.flush()
        session.rollback()
        assert session.scalar(select(func.count()).select_from(Tag)) == 3

        try:
            session.add(Line(order=amy.orders[0], sku="air", quantity=0, price=1))
            session.commit()
        except IntegrityError as error:
            assert error.orig.sqlstate == "23514", error
            session.rollback()
        else:
            raise AssertionError("a line without quantity")
        try:
            session.execute(text("DELETE FROM users WHERE email = 'ben@example.org'"))
            session.commit()
        except IntegrityError as error:
            assert error.orig.sqlstate == "23503", error
            session.rollback()
        else:
            raise AssertionError("an order without its user")

        # By the relationships, and by ON DELETE CASCADE.
        ben = session.scalars(select(User).where(User.email == "ben@example.org")).one()
        session.delete(ben)
        session.commit()
        assert session.scalar(select(func.count()).select_from(Line)) == 4
        raised = sqlalchemy.update(Line).where(Line.sku == "tea").values(price=Line.price * Decimal("1.10")).returning(Line.price)
        assert sorted(session.scalars(raised)) == [Decimal("3.58"), Decimal("3.85")]
        upsert = sqlalchemy.dialects.postgresql.insert(Tag).values([{"name": "gift"}, {"name": "slow"}])
        session.execute(upsert.on_conflict_do_nothing(index_elements=[Tag.name]))
        session.commit()
        assert session.scalars(select(Tag.name).order_by(Tag.name)).all() == ["gift", "größe", "slow", "urgent"]
        session.execute(sqlalchemy.delete(Tag).where(Tag.name == "slow"))
        session.bulk_insert_mappings(Tag, [{"name": f"tag{n}"} for n in range(300)])
        session.commit()
        assert session.scalar(select(func.count()).select_from(Tag)) == 303


def with_retries(engine, act):
    """Runs `act` in a transaction; again, if another one was faster. Gives how often it ran."""
    for attempt in range(1, RETRIES + 1):
        try:
            with Session(engine) as session, session.begin():
                act(session, attempt)
            return attempt
        except StaleDataError:
            pass
        except OperationalError as error:
            if error.orig.sqlstate != "40001":
                raise
    raise AssertionError(f"not done in {RETRIES} attempts")


def race(engine):
    def ship(session, attempt):
        order = session.scalars(select(Order).order_by(Order.id).limit(1)).one()
        if attempt == 1:
            with Session(engine) as faster, faster.begin():
                faster.scalars(select(Order).order_by(Order.id).limit(1)).one().note = "changed meanwhile"
        order.status = Status.shipped

    assert with_retries(engine, ship) == 2
    with Session(engine) as session:
        order = session.scalars(select(Order).order_by(Order.id).limit(1)).one()
        assert (order.status, order.note, order.version) == (Status.shipped, "changed meanwhile", 3)


def compare(engine):
    """The database is what the models say, in Alembic's own eyes."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
        assert not differences, differences


def main():
    engine = connect()
    migrate(engine, command.upgrade, "0001")
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO users (email, fullname, settings) VALUES ('dan@example.org', 'Dan', '{\"city\": \"Linz\"}')")
        )
    migrate(engine, command.upgrade, "head")
    with engine.begin() as connection:
        assert connection.scalar(text("DELETE FROM users RETURNING city")) == "Linz"
    compare(engine)
    fill(engine)
    query(engine)
    change(engine)
    race(engine)
    migrate(engine, command.downgrade, "base")
    assert sqlalchemy.inspect(engine).get_table_names() == ["alembic_version"]
    print(f"SQLAlchemy {sqlalchemy.__version__} and Alembic {alembic.__version__}: the shop is open")


if __name__ == "__main__":
    sys.exit(main())
