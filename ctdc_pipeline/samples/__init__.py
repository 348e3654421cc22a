"""Invented partner exports about people who do not exist, for demonstrations and tests."""
