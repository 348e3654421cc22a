"""Keep an installation running: backup, alerts, memory limit and compilation."""
