"""One command, one file; the docstring of each file is its help."""
