"""Bytes by key in a local folder, in memory or in an S3 bucket: one class over obstore."""

from __future__ import annotations

from sightline.adapters.artifacts.store import ObjectStore

__all__ = ["ObjectStore"]
