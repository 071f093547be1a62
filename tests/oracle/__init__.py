"""A second opinion on every rule: written from docs/rules alone, with lists and linear search, importing no engine."""
