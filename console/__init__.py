"""The console: what starts, shows, measures and administers an exchange; the whole command line is put together here."""
