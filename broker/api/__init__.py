"""The node's local API for desks."""
