"""The commands, one file to a noun; each docstring is the command's help.

Heavy parts (tuf, numpy, onnxruntime) are imported by the command that needs them, so that help
and a wrong option answer at once.
"""
