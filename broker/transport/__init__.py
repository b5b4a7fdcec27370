"""NATS: connections, accounts, streams. The only importer of `nats`."""
