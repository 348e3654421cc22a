"""Dagster resources: where data lives, how the engine is set, and the IO manager that keeps rows out of Dagster."""
