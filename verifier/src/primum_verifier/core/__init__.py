"""Judging: bytes, values and a time go in; a trusted value or an error comes out."""
