"""Commands of whoever uses an exchange over HTTP: one module a group. `console.main` puts the command line together."""
