"""The doors: command line, HTTP and gRPC. They translate; the verbs are elsewhere."""
