"""Everything that says yes or no: documents, rules, verdicts, self-test."""
