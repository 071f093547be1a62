"""Commands of whoever runs an exchange or works on it: one module a group."""
