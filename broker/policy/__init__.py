"""Evaluation of access policies: default deny, forbid beats permit."""
