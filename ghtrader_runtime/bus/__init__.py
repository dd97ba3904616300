"""Carries messages between gateway, strategy and observers over ZeroMQ: shapes, sockets, keys, link states."""
