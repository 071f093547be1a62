"""What uses an exchange from outside, over HTTP: the signed client, and the commands of traders, operators and sellers."""
