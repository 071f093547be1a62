"""What the exchange remembers, as C structs, and the packets that commands and events come and go in."""
