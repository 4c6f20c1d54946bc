"""The engine under what runs in batches: escapes, searches for stationary points, training.

The members of a batch end at very different times, take hours, and machines fail. So a fixed number
of *lanes* step together in a compiled loop and are refilled as their runs end; every device has a
*crew* of lanes and is dealt runs in turn; what has ended is handed over as it comes; and lanes,
queue and results can be saved and taken up again at any moment. A run's bits depend on its start,
its key and the number of lanes, and on nothing else.

What a step is, a *program* says, in the terms of its own module. One part a file:

    lanes        plans, programs, queues, lanes: what all this is about
    loop         the compiled loop: step, retire, refill, record
    compiled     for which shapes it is compiled, what it needs
    crews        what drives it: a thread a device, interruption, memory
    reports      what crews report, and how the main thread comes by it
    batch        a whole batch: its share of the runs, checkpoints, gathering
    checkpoints  on disk: two kept, whole or not at all, healed where damaged
    manifest     what a checkpoint says, and which files belong to it
    lock         one process at a time in a folder
    files        durable, with checksums
    arrays       trees as NumPy archives
    memory       what a program needs, asked before it runs
"""
