"""The receiving end of the devices' reports: what arrives is verified, stored and countersigned."""
