"""What the scenarios stand on: processes, tools, upstreams, the server under test, clients, the report."""
