"""Noisy counts of the victims within a privacy budget, and what is made of them alone. Materialised by its own job only."""
