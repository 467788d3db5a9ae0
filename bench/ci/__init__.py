"""Energy checks in the tests of a project: does this change cost more than the one before?

    def test_inference(joules):
        joules.pair(baseline, candidate)  # two functions, in this process
        joules.measure(candidate)  # one function, against the base commit or a stored run

``joulebench_pytest``, beside this package, is what pytest loads; it imports nothing but pytest. The
rest follows when a test asks for the fixture: ``instruments`` say what can be measured here,
``sides`` work, ``turns`` lets two sides take turns in blocks, ``conclusion`` turns that into a
``Result``, and ``gate`` judges it.

``python -m bench.ci`` measures a commit against its base in one job: two pytest processes, one in a
worktree of the base, take turns as the two arms of a pair do.

    referee  | lock                                                           | result
    head     |  warm-up       w     w        w  w        w     w  ...         |
    base     |           warm-up w     (...)       (...)                      |
                         `------ ABBA ------'`------ BAAB ------'

Both sides sleep in the kernel while the other works; ``worker`` is a side's end of the line,
``referee`` the middle.
"""
