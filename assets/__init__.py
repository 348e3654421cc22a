"""The software-defined assets, one folder a stage. A folder is a group and the first part of its assets' keys.

Thin: an asset resolves paths, makes one library call and reports counts, hashes and thresholds, never rows.
"""
