"""The gRPC doors: Open Inference Protocol, and `sightline.v1.ModelService`."""
