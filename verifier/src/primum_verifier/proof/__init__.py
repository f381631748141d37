"""The self-test: what is asked of a release on the device, and how the answers are judged."""
