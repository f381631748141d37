"""Authorities and the people who approve, as a simulated world or a test needs them."""
