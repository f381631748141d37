"""Deltas: what makes a new file of one that a device has; listed under signature, never trusted."""
