"""Pictures and video: sources, predictors and sinks."""
