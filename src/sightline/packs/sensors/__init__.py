"""Readings of sensors: tables and MQTT as sources, checks of values, and a sink to MQTT."""
