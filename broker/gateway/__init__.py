"""The process at the hub that judges every submission and routes it."""
