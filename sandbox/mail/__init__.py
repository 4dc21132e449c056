"""A stand-in for SendGrid: takes letters as its v3 API does, keeps them and tells of them."""
