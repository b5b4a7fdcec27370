"""Durable state in SQL databases."""
