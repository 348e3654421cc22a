"""Bring deliveries from the landing area into the delivery store and into ingested tables."""
