"""Which lines and branches of the compiled engine its suite reaches."""
