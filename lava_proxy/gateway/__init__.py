"""The lean edge: HTTP/1 of our own for AI hosts. It takes CONNECT to them off mitmproxy's hands, on the same port."""
