"""Versions hold one file per change of the database, applied in order and never edited after a release."""
