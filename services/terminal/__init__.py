"""The terminal: the web page, and where it finds the services."""
