"""What leaves for the tenants' own systems: addresses checked, requests signed and sent."""
