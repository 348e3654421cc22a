"""Number attributes, and count how often each combination of them occurs."""
