"""A release from candidate to publication, and the register of releases."""
