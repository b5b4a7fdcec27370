"""STIX, MISP and CSV documents turned into typed alerts, each with a report of what was left."""
