"""The papers' claims as experiments with a verdict. Adding one is a row in `table.py`."""
