"""What runs on the queues, one module a subject. This is the service layer; there is no other."""
