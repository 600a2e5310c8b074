"""Runs the migrations on the connection that the caller hands in."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
