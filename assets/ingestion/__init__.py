"""Landed exports, checked against their layouts. The only stage that holds identifying details."""
