"""Dates and times in cells, from text and numbers to times on one clock."""
