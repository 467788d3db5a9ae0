"""What there is to show, as plain data: no browser, no library of pages, nothing that writes.

Everything in a folder of results was written by others: sizes are looked at before files are read,
paths are resolved and stay inside, and what cannot be shown is named with its reason.
"""
