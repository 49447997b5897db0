"""Packs: plug-ins that happen to ship with Sightline; each imports `core` only."""
