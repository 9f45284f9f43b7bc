"""Readers that yield `Scene`: what is on disk, or a world that is drawn. None knows what its scenes are for."""
