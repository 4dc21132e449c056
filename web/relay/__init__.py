"""The WebSocket relay: what happens, told to browsers as it does."""
