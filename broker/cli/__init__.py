"""The command line: officers' commands over the SDK; administration in `admin`."""

from broker.cli.main import main

__all__ = ["main"]
