"""Wire formats: bytes in, usage out. One file per format, one table of them all."""
