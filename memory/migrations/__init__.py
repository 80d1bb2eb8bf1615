"""Migrations bring an older database to the version that this package writes."""
