"""Counts for those who watch a hub: each process writes its own down, one shows them all."""
