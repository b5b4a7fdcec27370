"""Raw cryptography: the only place that imports `cryptography`."""
