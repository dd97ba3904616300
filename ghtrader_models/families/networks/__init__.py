"""Defines the networks that read windows as plain torch modules: float32[B, T, F] -> logits float32[B, outputs]."""
