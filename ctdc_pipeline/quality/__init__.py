"""How faithful and complete the tables are, and what changed between deliveries."""
