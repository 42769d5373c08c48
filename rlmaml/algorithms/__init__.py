"""Methods: one a file, the same order in each. A file says only what is different."""
