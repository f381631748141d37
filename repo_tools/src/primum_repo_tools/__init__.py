"""The release engineer's workbench."""
