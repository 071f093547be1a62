"""Properties of market_data against the engine."""
