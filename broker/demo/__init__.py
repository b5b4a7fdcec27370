"""The demonstration: a hub, three nodes and their story."""
