"""Teaches the encoder of a network from rows without labels, before the network is trained on those that have one."""
