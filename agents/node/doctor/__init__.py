"""`hourbook-agent doctor`: tries everything that selling a GPU-hour needs, and says of each what is to be mended."""
