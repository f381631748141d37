"""Doing: the TUF client, the trust store, the self-test bench and the command, around the core."""
