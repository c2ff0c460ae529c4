"""Judge protocols: what a judge is asked, and what its replies mean. Data and pure functions, no transport.

    calls       one call to a judge, what comes back, and the driver that runs a protocol over any transport
    prompting   prompt files, one-pass filling, fences around untrusted text
    parsing     what a reply says, in `compat` (as published) and `strict` form
    judgements  what a protocol ends with: one rating, a verdict over a pair, ratings of many models at once
    protocols/  pointwise, pairwise, chateval, joint, mt_bench, faireval, geval, labelers, repeats
    table       protocols by name

A protocol never calls anything. Its `run(instance)` is a generator: it yields the calls of one step, is sent
their replies in the same order, and returns a judgement. All calls of one step may run at once.
"""
