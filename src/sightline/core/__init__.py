"""The nouns and the ports: values and contracts, no I/O and nothing heavy."""
