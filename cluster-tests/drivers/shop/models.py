"""What the shop keeps: users, their orders with lines, and tags of orders."""

import enum
from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Enum, ForeignKey, Index, MetaData, Numeric
from sqlalchemy import String, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    # Names that do not depend on the database, so that a migration can name what it drops.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True), dict: JSONB}


class Status(enum.Enum):
    open = "open"
    paid = "paid"
    shipped = "shipped"


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str]
    settings: Mapped[dict] = mapped_column(default=dict)
    joined: Mapped[datetime] = mapped_column(server_default=func.now())
    # Added by the second migration.
    city: Mapped[str] = mapped_column(Text, server_default="nowhere")
    orders: Mapped[list["Order"]] = relationship(
        back_populates="user", cascade="all, delete-orphan", order_by="Order.id"
    )


order_tags = Table(
    "order_tags",
    Base.metadata,
    Column("order_id", ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_user_id_status", "user_id", "status"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    status: Mapped[Status] = mapped_column(Enum(Status, name="order_status"), default=Status.open)
    placed: Mapped[datetime | None] = mapped_column(DateTime())
    note: Mapped[str | None]
    # Who changes an order says which version of it was read: two changes of one version do not both succeed.
    version: Mapped[int] = mapped_column()
    user: Mapped[User] = relationship(back_populates="orders")
    lines: Mapped[list["Line"]] = relationship(
        back_populates="order", cascade="all, delete-orphan", passive_deletes=True, order_by="Line.sku"
    )
    tags: Mapped[list["Tag"]] = relationship(secondary=order_tags, order_by="Tag.name")
    __mapper_args__ = {"version_id_col": version}


class Line(Base):
    __tablename__ = "lines"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity"),)

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True)
    sku: Mapped[str] = mapped_column(String(20), primary_key=True)
    quantity: Mapped[int]
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    order: Mapped[Order] = relationship(back_populates="lines")


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
