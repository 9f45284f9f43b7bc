"""visift: visual instruction fine-tuning. Light to import: neither torch nor transformers loads here."""

__version__ = "0.1.0"
