"""The book: notebooks executed and made into pages that read offline; see `python -m repgeo.book -h`."""
