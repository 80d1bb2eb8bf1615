"""Schema changes of the database, in order."""
