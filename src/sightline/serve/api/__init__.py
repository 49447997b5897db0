"""The management application: cases, runs, models, sources, events, keys; the OpenAPI document and its page."""

from sightline.serve.api.application import make_api

__all__ = ["make_api"]
