"""One outside system per module, behind a port of `sightline.core.ports`."""
