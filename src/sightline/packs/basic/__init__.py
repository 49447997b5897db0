"""What every domain needs: collectors, windows, and sinks to bus, file and database."""
