"""What the tests of several rooms need: certificates, homes, running processes, clients."""
