"""Gives regions to pictures that have none: a segmenter, its masks kept on disk, and the source that joins the two."""
