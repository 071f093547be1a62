"""Properties of the engines: what must hold after every record of any command log."""
