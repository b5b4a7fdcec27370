"""What is said: labels, alerts, messages and policies as pure data, with no crypto and no I/O."""

KENTONG_PACKAGE = "kentong"
"""Tells `broker` that this is Kentong's package and not another one of the same plain name."""
