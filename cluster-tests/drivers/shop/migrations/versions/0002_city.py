"""Users live somewhere; orders have notes and are found by user and status."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("users", sa.Column("city", sa.Text(), nullable=True))
    op.execute("UPDATE users SET city = coalesce(settings->>'city', 'nowhere')")
    op.alter_column("users", "city", nullable=False, server_default="nowhere")
    op.alter_column("users", "fullname", new_column_name="name")
    op.add_column("orders", sa.Column("note", sa.Text(), nullable=True))
    op.create_index("ix_orders_user_id_status", "orders", ["user_id", "status"])


def downgrade():
    op.drop_index("ix_orders_user_id_status", table_name="orders")
    op.drop_column("orders", "note")
    op.alter_column("users", "name", new_column_name="fullname")
    op.drop_column("users", "city")
