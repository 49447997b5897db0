"""Medical volumes: read with honest geometry, segmented, measured, and told in the formats of the field."""
