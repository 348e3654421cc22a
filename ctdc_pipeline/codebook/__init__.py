"""The codebook: its variables, the countries, and the table schemas that follow from them."""
