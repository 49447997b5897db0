"""Pictures and video: sources, predictors, sinks and data sets."""
