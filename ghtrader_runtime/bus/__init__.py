"""ZeroMQ between gateway, strategy and observers: messages, sockets, endpoints, keys, link states."""
