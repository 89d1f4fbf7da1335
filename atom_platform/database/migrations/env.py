"""Alembic's environment: the migrations run in the transaction of `database.migrate`."""

from __future__ import annotations

from alembic import context

from atom_platform.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)

with context.begin_transaction():
    context.run_migrations()
