"""Turn partners' records into records of the codebook, and account for every row."""
