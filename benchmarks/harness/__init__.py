"""What only benches and tests use: bare books that match, and command streams through books and the exchange."""
