"""Case data in the forms that others use: the HTCDS standard in and out, published CTDC files in."""
