"""Runs long tests: `make soak`. A file `soak_<name>.py` with `run() -> bool` (True: nothing broke) is one of them."""
