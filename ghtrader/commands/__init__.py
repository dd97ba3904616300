"""The commands, one module a subject; each exposes `register(app)`. Thin: parse, call a floor below, print."""
