"""market_data on a real broker and a real database."""
