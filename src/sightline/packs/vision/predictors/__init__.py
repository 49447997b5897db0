"""What can be said about frames."""
