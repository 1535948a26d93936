"""Entra ID: the token endpoint, its metadata and keys, and the check that every other simulator makes of a token."""
