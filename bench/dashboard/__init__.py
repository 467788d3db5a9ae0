"""The sweep in a browser: ``python -m bench.dashboard results``; it reads and never writes records.

``data`` finds out what there is to show and knows no browser; ``charts`` and ``language`` say it;
``pages`` show it; ``gate`` lets in who may; ``take`` hands it over as a file; ``server`` ties all
together. While a window is open on this host nothing is read and nothing is pushed.
"""
