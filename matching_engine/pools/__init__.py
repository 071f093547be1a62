"""Memory in pools, and what stands in them: books, price levels, ids and names."""
