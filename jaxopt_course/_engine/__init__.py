"""The engine under what runs in batches: escapes, searches for stationary points, training.

The runs of a batch end at very different times, a batch takes hours, and machines fail. Words:

    program  What runs do, a pytree of the arrays that they share: `begin(start)`, `step(state)`,
             `row(state)`, each for all lanes at once (`Program`). `escape`, `find` and `fit` each
             have one.
    start    Where a run begins: a pytree; its key, if it has one, is a leaf.
    state    Where the runs in the lanes stand; a reason says of each why it has ended, or not.
    lane     A place in which one run after the other takes its steps, beside the others.
    queue    Runs that wait for a lane.
    row      What is kept of a run that has ended.
    crew     The lanes of one device, and the runs dealt to it.
    source   Where starts come from, by the numbers of the runs.
    share    The runs that one process of several works on.

A fixed number of lanes step together in a compiled loop. Where runs wait for a lane, lanes are
refilled as their runs end; where all have one, a block of runs begins and ends together. What has
ended is handed over as it comes; and lanes, queue and rows can be saved and taken up again at any
moment, in either way. A run's bits depend on its start and the number of lanes, and on nothing
else. One part a file:

    loop         programs, queues, lanes, and the compiled loop, in blocks or refilled
    recording    a program that records another
    compiled     for which shapes the loop is compiled, what it needs of memory
    crews        what drives it: a thread a device, interruption, reports
    batch        a whole batch: how it is executed, its share of the runs, gathering
    checkpoints  on disk: two kept, whole or not at all, healed where damaged
    manifest     what a checkpoint says, and which files belong to it
    lock         one process at a time in a folder
    files        durable, with checksums
    arrays       trees as NumPy archives
    about        what must agree between a checkpoint and what continues it
    preemption   SIGTERM as a request to stop
    processes    that work together under `jax.distributed`
    meshes       batches within `jax.set_mesh`
"""
