"""What a reader sees: tables, figures and numbers, all from records, without torch."""
