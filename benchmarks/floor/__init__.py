"""The measuring stick: the least that any order book can do on this machine, in C++."""
