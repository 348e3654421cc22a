"""The attack audit: what an attacker gains from releases of a table, measured by attacking them. Internal, never published."""
