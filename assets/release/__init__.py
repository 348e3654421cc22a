"""The verified dataset in the public zone. Materialised by its own job only."""
