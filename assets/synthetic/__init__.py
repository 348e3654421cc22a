"""The k-synthetic records."""
