"""The demo: its models, its application and the story that `make demo` tells."""
