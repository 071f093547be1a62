"""Properties of the services."""
