"""The console: what starts, measures and administers an exchange; the whole command line is put together here."""
