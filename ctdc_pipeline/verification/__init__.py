"""Checks of a release from its public folder, with code that shares nothing with what made it."""
