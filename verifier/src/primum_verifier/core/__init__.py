"""Judging: bytes, values and a time go in; a verdict or an error comes out.

This package alone decides what a device may do with a release.  Five others are as pure and
stand beside it: :mod:`primum_verifier.keeping` (what a device keeps to between two verdicts),
:mod:`primum_verifier.proof` (did the device compute what was validated?),
:mod:`primum_verifier.change` (does a change keep to its plan?),
:mod:`primum_verifier.record` (what devices say of themselves) and
:mod:`primum_verifier.delta` (what makes a new file of an old one).
"""
