"""Dagster resources: where data lives, how the engine is set, what is secret, and the IO manager that keeps rows out of Dagster."""
