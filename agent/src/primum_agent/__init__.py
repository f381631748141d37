"""The life of an update on a device."""
