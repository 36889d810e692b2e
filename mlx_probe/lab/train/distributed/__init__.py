"""Training by several processes, each with its part of every batch.

    world       who takes part, started by `mlx.launch`; sums over all
    heartbeat   notices that a process is lost, and says which one
    ring        MLX's connections between neighbours
    lead        process 0: has the run folder, and tells the others what to do
    follow      the others: compute their part, and write nothing

All processes hold the same weights and optimizer state. Each computes the gradient of its rows of
the batch; the mean over all is the gradient of the whole batch, and every process makes the same
update with it (data parallelism, Dean et al. 2012, "Large scale distributed deep networks").
"""
