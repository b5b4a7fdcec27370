"""The running log: a sequencer that orders, a signer that alone holds its key, tiles on disk."""
