"""The command line: officers' commands over the SDK; administration in `admin`."""
