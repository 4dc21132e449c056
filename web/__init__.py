"""The wire: accepts, stores, enqueues. Never calls a provider."""
