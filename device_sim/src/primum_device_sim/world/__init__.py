"""A world of real agents in one process: their time, network, power and broker are played."""
