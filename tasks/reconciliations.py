"""Whether we and the providers agree: runs over a window."""
