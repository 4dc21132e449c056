"""The outside world on one machine: private servers and stand-ins for the providers over HTTP."""
