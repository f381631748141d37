"""Brings the fixtures of the simulator into these tests."""

pytest_plugins = ["primum_device_sim.pytest_plugin"]
