"""One thin file per command group; no logic and no heavy import at the top of any of them."""
