"""The search for knobs worth having: ``python -m bench.tune``.

    draw knobs -> make both arms -> judge the variant on held-out examples -> measure the pair
         ^                                  `- lost too much: it is not measured          |
         `---------------------------- high metric, low joules <-------------------------'

Optuna draws the knobs and keeps the study, in a journal that several workers share. Every trial is
a pair as ``bench.pair`` runs it: equal baselines are made once, and what a trial has cost is kept
and charged to whoever takes what was found (``bench.search``).

The test split takes no part in a search: trials are judged on that part of the training split that
training left out.
"""
