"""The SDK: an async client of a node's local API."""
