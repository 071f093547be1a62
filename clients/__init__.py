"""What uses an exchange over HTTP: the signed client, and the commands of traders, operators and sellers."""
