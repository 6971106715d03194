"""What is proven with real clients. Each scenario starts its own servers and leaves nothing behind."""
