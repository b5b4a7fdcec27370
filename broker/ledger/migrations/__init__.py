"""The log's versions. One module a step; a published one never changes."""
