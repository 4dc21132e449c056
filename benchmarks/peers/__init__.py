"""What the measurements compare with: other designs of the same endpoint, as a WSGI app each."""
