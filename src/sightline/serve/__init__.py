"""The doors: command line now, HTTP and gRPC later. They translate; the verbs are elsewhere."""
