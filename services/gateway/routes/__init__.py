"""Routes: what each request does, over HTTP and the private WebSocket."""
