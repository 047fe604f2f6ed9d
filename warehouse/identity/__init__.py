"""Pure rules about who somebody is: API keys, passwords, sessions."""
