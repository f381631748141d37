"""The change-control plan: does a change keep to what was authorised? Advice, never a verdict."""
