"""Model families: how each is trained and saved. Training libraries are imported inside `fit`, never by the runtime."""
