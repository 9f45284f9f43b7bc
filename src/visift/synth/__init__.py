"""Conversations made of scenes: one file per kind of data, all built by `frame.synthesise`."""
