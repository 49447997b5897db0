"""Another source for a case, without an edit of its manifest: `--source URL`.

Which plug-in reads an address is decided here: a folder or a picture is for `images`, everything else for `video`,
unless the case's own source is of another kind and takes a `url` (readings of a sensor, for instance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sightline.build.catalog import Catalog
from sightline.build.documents import Document, replaced
from sightline.build.plugins import build_plugin, field_names
from sightline.core.case import Case
from sightline.core.errors import ConfigError, SightlineError

MAIN = "main"
"""Id of the source of a case that names only one."""

VIDEO, IMAGES = "video", "images"
_DEVICES = ("/dev/video", "video=")  # webcams by the names of Linux and Windows
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"})


def plugin_for(url: str) -> str:
    """Return the name of the source that reads an address."""
    if not url or url.isdecimal():  # a webcam
        return VIDEO
    parts = urlsplit(url) if url.lower().startswith("file://") else None
    if "://" in url and parts is None:
        return VIDEO
    try:
        path = Path(unquote(parts.path)) if parts else Path(url).expanduser()
        return IMAGES if path.suffix.lower() in _PICTURES or path.is_dir() else VIDEO
    except (OSError, RuntimeError, ValueError):  # no path at all: the source will say so
        return VIDEO


def source_entry(url: str, **fields: Any) -> dict[str, Any]:
    """Return the manifest entry of a source that reads `url`; fields that are None or that it lacks are left out."""
    use = plugin_for(url)
    wanted = ("size",) if use == IMAGES else ("fps", "size")
    return {"use": use, "url": url, **{name: fields[name] for name in wanted if fields.get(name) is not None}}


def live_entry(entry: Any) -> Any:
    """Return the entry of a source for a run that is live: a video file is played in real time, again and again.

    What the entry itself says of `loop` and `realtime` stays; a source that is no video file stays as it is.
    """
    if not isinstance(entry, Mapping) or entry.get("use") != VIDEO:
        return entry
    url = entry.get("url")
    if not isinstance(url, str) or not url or url.isdecimal() or url.startswith(_DEVICES):
        return entry
    is_file = "://" not in url or url.lower().startswith("file://")
    return {"loop": True, "realtime": True, **entry} if is_file else entry


def with_source(document: Document, source: str, load: Callable[[str, str], type[Any]]) -> Document:
    """Return the document with the URL of a source replaced, and its plug-in where that cannot read the URL.

    Args:
        document: a manifest.
        source: the URL; `id=URL` where the case has several sources.
        load: kind and name of a plug-in -> its class.

    Raises:
        ConfigError: it does not say which of several sources is meant.
    """
    sources = document.data.get("sources") or {}
    if not isinstance(sources, dict):
        return document  # the builder says what is wrong with it
    id_, equals, url = source.partition("=")
    if equals and id_ in sources:
        path, entry = f"sources.{id_}", sources[id_]
    elif not sources:
        path, entry, url = "source", document.data.get("source"), source
    elif len(sources) == 1:
        [(id_, entry)], url = sources.items(), source
        path = f"sources.{id_}"
    else:
        raise ConfigError(
            f"The case has several sources: {', '.join(sources)}.",
            cure=f"Name one: --source {next(iter(sources))}=URL",
            location=document.name,
        )
    changed = replaced(document, {path: _replaced_entry(entry, url, load)})
    place = tuple(path.split("."))
    origins = {where: origin for where, origin in changed.origins.items() if where != place}
    return replace(changed, origins={**origins, (*place, "url"): "--source", (*place, "use"): "--source"})


def with_url(case: Case, source: str, catalog: Catalog) -> Case:
    """Return a case from a blueprint with the URL of a source replaced; see `with_source`."""
    id_, equals, url = source.partition("=")
    if not (equals and id_ in case.sources):
        if len(case.sources) > 1:
            raise ConfigError(
                f"The case has several sources: {', '.join(case.sources)}.",
                cure=f"Name one: --source {next(iter(case.sources))}=URL",
            )
        id_, url = next(iter(case.sources), MAIN), source
    old, use = case.sources.get(id_), plugin_for(url)
    if old is not None and "url" in field_names(type(old)) and not isinstance(old, _classes(catalog)):
        fields: dict[str, Any] = {"url": url}
        return replace(case, sources={**case.sources, id_: replace(old, **fields)})
    kind = catalog.load("sources", use)
    kept = {name: getattr(old, name) for name in field_names(kind) if type(old) is kind and name != "url"}
    return replace(case, sources={**case.sources, id_: build_plugin("sources", use, kind, {**kept, "url": url})})


def _classes(catalog: Catalog) -> tuple[type[Any], ...]:
    return tuple(catalog.load("sources", name) for name in (VIDEO, IMAGES))


def _replaced_entry(entry: Any, url: str, load: Callable[[str, str], type[Any]]) -> dict[str, Any]:
    """Return the entry of a source for another URL."""
    fields = {"use": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, dict) else {}
    use = fields.get("use")
    if use == plugin_for(url):
        return {**fields, "url": url}
    if isinstance(use, str) and use not in (VIDEO, IMAGES):
        try:
            if "url" in field_names(load("sources", use)):
                return {**fields, "url": url}
        except SightlineError:
            return {**fields, "url": url}  # the builder says what is wrong with it
    return source_entry(url, fps=fields.get("fps"), size=fields.get("size") if use in (VIDEO, IMAGES) else None)
