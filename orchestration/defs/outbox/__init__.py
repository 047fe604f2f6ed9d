"""What organizations are told of: webhooks and mail, delivered from the outbox."""
