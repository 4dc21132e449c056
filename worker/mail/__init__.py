"""Mail: what letters say (templates), who carries them (SendGrid or SMTP), and signed links."""
