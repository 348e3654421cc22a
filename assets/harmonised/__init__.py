"""De-identified cases of each partner in one schema, what was not taken in, and the union of all."""
