"""Files of studies to volumes: what scanners write, strictly read."""
