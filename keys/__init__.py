"""Who may say it: primitives, identities, officers and the directory. The only crypto calls."""

KENTONG_PACKAGE = "kentong"
"""Tells `broker` that this is Kentong's package and not another one of the same plain name."""
