"""The rules of `rules/` on the C records: the store that they call, and views with the fields that they know."""
