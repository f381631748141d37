"""The commands of ``primum-agent``: one file each, its docstring is its help."""
