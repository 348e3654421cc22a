"""Synthetic records, k-synthetic or differentially private."""
