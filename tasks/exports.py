"""Events for an analytics database of the tenant's own choice."""
