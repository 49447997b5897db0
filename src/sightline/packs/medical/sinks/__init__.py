"""Sinks of the medical pack."""
