"""Pretend devices, faults and fleets for CI, and the demo."""
