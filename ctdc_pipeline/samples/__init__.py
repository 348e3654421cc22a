"""Seeded, invented partner exports for demonstrations, tests and benchmarks. No real case is or can be in them."""
