"""What the exchange is made of that others wrote: a list of it, and what is known against it."""
