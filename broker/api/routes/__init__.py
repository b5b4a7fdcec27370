"""The endpoints, by what a desk wants."""
