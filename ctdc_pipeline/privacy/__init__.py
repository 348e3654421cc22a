"""Privacy: proofs, differencing, suppressed countries, and the accounting of noise."""
