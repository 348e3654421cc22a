"""Exchange case data with others: HTCDS in and out, published CTDC files in."""
