"""The verbs: pipelines, batches, sessions and runs, the same for every domain."""
