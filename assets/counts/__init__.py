"""Exact counts of attribute combinations, and what of them may be reported."""
