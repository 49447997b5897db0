"""Sources of the medical pack."""
