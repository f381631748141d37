"""The device's key cannot be used: one class of error, with one ``key.*`` reason for each cause.

``key.secret`` the PIN or passphrase is missing or refused; ``key.module`` the PKCS#11 module cannot
be loaded; ``key.token`` the token is not there, or went away; ``key.absent`` no such object;
``key.ambiguous`` more than one; ``key.unusable`` a key that cannot do what is asked of it; and
``state.damaged`` for a spoilt key file.
"""

from __future__ import annotations

from primum_verifier.core.errors import FailedError


class UnusableKeyError(FailedError):
    """The device's key cannot be used now; events wait unsigned, and what runs goes on."""
