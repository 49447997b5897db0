"""Readings of sensors: a source of tables, checks and alerts."""
