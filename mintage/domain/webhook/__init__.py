"""A person's webhooks: the addresses at which they want to hear what happens."""
