"""Where ticks come from: one protocol (`base`), TqSdk (`tqsdk`), files people already have (`recordings`)."""
