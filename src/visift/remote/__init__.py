"""Asking a model over HTTP (OpenAI-compatible). Teachers, judges and remote candidates go through `client.Client`."""
