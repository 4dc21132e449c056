"""Exchange rates from outside: who tells them, and how old they may be."""
