"""The steps that build the tables, for Alembic. Run by `migrate.py` when a store is opened."""
