"""The records of accounts, keys and tokens: published, kept in copies, and what a key may ask for."""
