"""What the stand-ins for providers share: the wire, the book, faults, webhooks, the desk."""
