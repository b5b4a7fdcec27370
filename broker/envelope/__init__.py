"""Sealing, opening and parsing of envelopes."""
