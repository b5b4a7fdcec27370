"""`kentong demo`: a whole region on this machine, in a minute, that proves what it tells."""

from broker.cli.demo.command import command

__all__ = ["command"]
