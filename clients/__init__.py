"""Programs that use the exchange from outside: the command line and the signed HTTP client."""
