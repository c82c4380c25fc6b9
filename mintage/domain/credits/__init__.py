"""The credit account: lots come in, are held, spent, returned, expired."""
