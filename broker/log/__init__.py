"""The audit log: its tree, tiles, signed checkpoints and proofs."""
