"""Azure Key Vault: the secrets of one vault, also those behind its certificates."""
