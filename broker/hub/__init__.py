"""What the secretariat runs: server, accounts, streams and services."""
