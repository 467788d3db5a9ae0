"""A whole sweep: looked at before it starts, told how far it is, summed up at its end.

before    preflight: every point composed and looked at; what is measured already; time, disk
each      its outcome in a file beside its log, whichever process or host has seen it through
between   how many points are done, joules so far, time left: read from those files
after     done, skipped, failed with the reason, undecided; the exit status
"""
