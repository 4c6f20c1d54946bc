"""What all experiments share: the command line, results on disk, claims, data, the report.

    cli             the command line; its `commands`, `completion` in the shell, `tables`
    fields          what the fields of a config may be
    registry        which experiments there are, read from their files
    runner          one experiment: compute, judge, draw, write
    store           results on disk, whole or not there
    claims          a statement with what was expected and what was measured
    progress        bars
    resumable       batches that go on where they were
    processes       several processes that run one experiment together
    statistics      intervals for shares, medians and means over seeds
    data            images and labels; `data_files`: the formats that they are published in
    signals         activations and gradients on their way through a network
    digit_network   a small network whose stationary points can be found
    report          the site of all results
    lecture         the lecture's statements, and the claims that measure them
    reasons         why a claim does not hold, where somebody has looked
    full_batch      networks trained on all images in every step
    explorer        the interactive page
    notebook        what the notebooks share

Nothing here knows a single experiment.
"""
