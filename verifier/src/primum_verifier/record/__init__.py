"""What devices say of themselves: events, reports, and whether a run of events is whole."""
