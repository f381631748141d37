"""Making deltas: what two files have in common, and the smallest way to say the rest."""
