"""The command line: one file per noun. It reads, calls one service, prints."""
