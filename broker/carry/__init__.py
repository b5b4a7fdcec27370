"""Mail by file, for a node without a link: what is written, who takes it, and the ferry between."""
