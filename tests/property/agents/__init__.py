"""Properties of the challenge, the report chain and the posting decisions."""
